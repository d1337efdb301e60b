"""What step-ca's records become, record by record, and that none that cannot be read goes by unnoticed."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.rig.pki import Pki
from troth.ca.tokens import parse_token
from troth.store.records import Import, IssuedCertificate, Revocation, SpentToken
from troth.store.sqlite import open_store
from troth.store.step import Entry, SourceError
from troth.store.step.records import Found, collect
from troth.store.step.source import Source, source_of

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SERIAL = 173270


def revoked(**changes: Any) -> Entry:
    """As step-ca writes it, with members replaced; None leaves one out."""
    content = {
        "Serial": str(SERIAL),
        "ProvisionerID": "admin:kid",
        "ReasonCode": 4,
        "Reason": "superseded",
        "RevokedAt": "2026-05-04T11:22:33.123456789Z",
        "ExpiresAt": "2026-05-05T11:22:33Z",
        "TokenID": "abc",
        "MTLS": False,
        "ACME": False,
        **changes,
    }
    kept = {name: value for name, value in content.items() if value is not None}
    return Entry("revoked_x509_certs", str(SERIAL).encode(), json.dumps(kept).encode())


def spent(name: str, payload: Any) -> Entry:
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
    return Entry("used_ott", name.encode(), b"e30." + body + b".c2ln")


def taken(*entries: Entry) -> Found:
    return collect(entries, NOW)


def test_a_certificate_keeps_its_provisioner_whichever_comes_first(tmp_path: Path) -> None:
    leaf = Pki(tmp_path).leaf("host.example.com").chain[0]
    key, der = str(leaf.serial_number).encode(), leaf.public_bytes(Encoding.DER)
    data = b'{"provisioner":{"id":"admin:kid","name":"admin","type":"JWK"},"ra":null}'
    both = [Entry("x509_certs", key, der), Entry("x509_certs_data", key, data)]
    expected = IssuedCertificate(
        leaf.serial_number, der, leaf.not_valid_after_utc, leaf.not_valid_before_utc, "admin:kid", "admin", "JWK"
    )
    for order in (both, both[::-1]):
        assert taken(*order).certificates == [expected]
        assert taken(*order).problems == []
    for absent in ([], [Entry("x509_certs_data", key, b"{}")]):
        assert taken(both[0], *absent).certificates == [(*expected[:4], "", "", "")]


def test_a_certificate_under_another_serial_is_named(tmp_path: Path) -> None:
    leaf = Pki(tmp_path).leaf("host.example.com").chain[0]
    found = taken(
        Entry("x509_certs", b"12", leaf.public_bytes(Encoding.DER)),
        Entry("x509_certs", b"13", b"not DER"),
        Entry("x509_certs", b"0x14", leaf.public_bytes(Encoding.DER)),
        Entry("x509_certs_data", b"15", b"[]"),
    )
    assert found.certificates == []
    assert found.problems == [
        f"x509_certs/12: holds the certificate with serial number {leaf.serial_number}",
        "x509_certs/13: not a certificate",
        "x509_certs/0x14: expected a decimal serial number of at most 160 bits",
        "x509_certs_data/15: not a JSON object",
    ]


def test_a_revocation_is_taken_as_it_was_made() -> None:
    moment = datetime(2026, 5, 4, 11, 22, 33, 123456, UTC)
    assert taken(revoked()).revocations == [Revocation(SERIAL, moment, 4, "superseded", "admin:kid", "abc", False)]
    east = revoked(RevokedAt="2026-05-04T13:22:33+02:00", MTLS=True, TokenID="", ReasonCode=0, Reason="")
    assert taken(east).revocations == [
        Revocation(SERIAL, moment.replace(microsecond=0), 0, "", "admin:kid", "", True),
    ]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (revoked(RevokedAt=None), "member 'RevokedAt' is missing"),
        (revoked(RevokedAt="yesterday"), "Invalid isoformat string"),
        (revoked(RevokedAt="2026-05-04T11:22:33"), "expected a time with its zone"),
        (revoked(ReasonCode=11), "reason code 11 is not one of RFC 5280's"),
        (revoked(ReasonCode="4"), "ReasonCode: expected int"),
        (revoked(Serial="99"), "holds the revocation of '99'"),
        (revoked(MTLS=1), "MTLS: expected bool"),
        (revoked()._replace(value=b"{"), "not JSON"),
        (revoked()._replace(value=b"[" * 100_000), "not JSON"),
    ],
)
def test_an_unreadable_revocation_is_named_and_still_revokes(entry: Entry, reason: str) -> None:
    found = taken(entry)
    assert found.revocations == [Revocation(SERIAL, NOW)]
    assert len(found.problems) == 1 and f"revoked_x509_certs/{SERIAL}: " in found.problems[0]
    assert reason in found.problems[0]


def test_a_used_token_is_remembered_until_it_ends_and_a_day_at_most() -> None:
    soon, late = int(NOW.timestamp()) + 300, int(NOW.timestamp()) + 10**9
    day = NOW + timedelta(days=1)
    found = taken(
        spent("soon", {"exp": soon}),
        spent("late", {"exp": late}),
        spent("undated", {}),
        spent("odd", {"exp": "soon"}),
        spent("huge", {"exp": 10**30}),
        Entry("used_ott", b"no token", b"\xff"),
        spent("just ended", {"exp": int(NOW.timestamp()) - 200}),
        spent("ended", {"exp": int(NOW.timestamp()) - 400}),
    )
    assert found.tokens == [
        SpentToken("soon", NOW + timedelta(minutes=5)),
        SpentToken("late", day),
        SpentToken("undated", day),
        SpentToken("odd", day),
        SpentToken("huge", day),
        SpentToken("no token", day),
        SpentToken("just ended", NOW - timedelta(seconds=200)),
    ]
    assert (found.expired_tokens, found.problems) == (1, [])


def test_what_is_not_taken_over_is_counted() -> None:
    found = taken(
        Entry("ssh_certs", b"1", b""),
        Entry("acme_orders", b"a", b"{}"),
        Entry("acme_orders", b"b", b"{}"),
        Entry("acme_account_orders_index", b"b", b"{}"),
        Entry("nonces", b"n", b"{}"),
    )
    assert dict(found.left) == {"ssh_certs": 1, "acme_orders": 2}
    assert found.digest == ""


def test_the_digest_is_of_the_records_whatever_their_order() -> None:
    one, two = revoked(), spent("token", {})
    assert taken(one, two).digest == taken(two, one).digest != ""
    assert taken(one, two).digest != taken(one).digest
    assert taken(one).digest != taken(revoked(Reason="other")).digest
    assert taken(one).digest == taken(one, Entry("ssh_certs", b"1", b"")).digest


def test_a_list_is_carried_on_with_its_number(tmp_path: Path) -> None:
    Pki(tmp_path).crl(tmp_path / "crl.pem")
    from cryptography import x509

    crl = x509.load_pem_x509_crl((tmp_path / "crl.pem").read_bytes())
    der = crl.public_bytes(Encoding.DER)
    content = {"Number": 7, "ExpiresAt": "2026-05-05T00:00:00Z", "Duration": 1, "DER": base64.b64encode(der).decode()}
    published = taken(Entry("x509_crl", b"crl", json.dumps(content).encode())).published
    assert published is not None
    assert (published.number, published.der, published.made_at) == (7, der, crl.last_update_utc)
    broken = taken(Entry("x509_crl", b"crl", json.dumps({**content, "DER": "AAAA"}).encode()))
    assert broken.problems == ["x509_crl/crl: not a revocation list"]


def test_taking_over_twice_adds_nothing_and_changes_nothing(tmp_path: Path) -> None:
    from troth.cli.migrating import changes

    leaf = Pki(tmp_path).leaf("host.example.com").chain[0]
    certificate = Entry("x509_certs", str(leaf.serial_number).encode(), leaf.public_bytes(Encoding.DER))
    found = taken(revoked(), spent("token", {}), certificate)
    store = open_store(tmp_path / "troth.sqlite")
    record = Import("badgerv2 /db", "s", found.digest)
    assert store.take_over(changes(found), None, record, NOW) == 3
    later = taken(revoked(Reason="changed"), spent("token", {}), certificate)
    assert store.take_over(changes(later), None, record._replace(digest=later.digest), NOW) == 0
    kept = store.revocation(SERIAL)
    assert kept is not None and kept.reason == "superseded"
    assert store.imports() == [record._replace(digest=later.digest)]
    store.close()


@pytest.mark.parametrize(
    ("db", "reason"),
    [
        ({"type": "sqlite", "dataSource": "x"}, "db.type: expected badgerv2"),
        ({"dataSource": "x"}, "db.type: expected badgerv2"),
        ({"type": "bbolt"}, "db.dataSource: expected a text"),
        ({"type": "bbolt", "dataSource": 5}, "db.dataSource: expected a text"),
    ],
)
def test_a_database_that_is_not_step_ca_s_is_refused(db: dict[str, Any], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        source_of(db, Path("/"))


def test_an_unused_database_is_absent_and_one_that_cannot_be_read_is_not(tmp_path: Path) -> None:
    assert source_of({"type": "badgerv2", "dataSource": "db"}, tmp_path).is_absent()
    (tmp_path / "db").mkdir()
    assert source_of({"type": "badgerv2", "dataSource": "db"}, tmp_path).is_absent()
    (tmp_path / "db" / "000001.vlog").write_bytes(b"?" * 30)
    source = source_of({"type": "BadgerV2", "dataSource": "db"}, tmp_path)
    assert not source.is_absent()
    with pytest.raises(SourceError, match="MANIFEST"), source.reading() as (entries, _):
        list(entries)
    (tmp_path / "bolt").touch()
    assert source_of({"type": "bbolt", "dataSource": "bolt"}, tmp_path).is_absent()
    assert not Source("postgresql", "postgresql://localhost/").is_absent()


def test_a_token_without_an_id_is_known_by_what_was_signed() -> None:
    """step-ca records it under the hash of its whole text; ours must know it whatever becomes of its signature."""
    head = base64.urlsafe_b64encode(b'{"alg":"ES256"}').decode()
    text = f"{head}.e30.c2ln"
    entry = Entry("used_ott", hashlib.sha256(text.encode()).hexdigest().encode(), text.encode())
    found = collect([entry], NOW)
    assert [one.identifier for one in found.tokens] == [parse_token(text).identifier]
