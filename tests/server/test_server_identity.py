"""The server's own certificate: renewed in good time, and within a handshake when the clock has left it behind."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.rig.authority import PASSWORD, Served, founded
from troth.server.identity import Identity
from troth.server.state import Loaded, load
from troth.server.tls import LIFETIME


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        yield one


@pytest.fixture
def loaded(served: Served) -> Loaded:
    return load(served.configuration, served.directory, lambda _: PASSWORD.encode(), datetime.now(UTC))


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


def shown(identity: Identity, root: Path) -> x509.Certificate:
    """What a client is shown; the handshake goes through memory."""
    client_in, server_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    trust = ssl.create_default_context(cafile=str(root))
    # Certificates of tomorrow are not yet valid to OpenSSL; that the chain leads to the root is looked at elsewhere.
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    client = trust.wrap_bio(client_in, server_in, server_hostname="localhost")
    server = identity.first.wrap_bio(server_in, client_in, server_side=True)
    waiting = [client, server]
    while waiting:
        one = waiting.pop(0)
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(one)
    der = client.getpeercert(True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def test_the_certificate_of_the_start_is_shown_until_its_last_minute(served: Served, loaded: Loaded) -> None:
    clock = Clock()
    identity = Identity(loaded, clock)
    first = shown(identity, served.root)
    clock.now = first.not_valid_after_utc - timedelta(minutes=1)
    assert shown(identity, served.root) == first


def test_a_handshake_in_the_last_minute_and_after_it_is_shown_a_new_one(served: Served, loaded: Loaded) -> None:
    for beyond in (timedelta(seconds=-59), timedelta(days=3)):
        clock = Clock()
        identity = Identity(loaded, clock)
        first = shown(identity, served.root)
        clock.now = first.not_valid_after_utc + beyond
        new = shown(identity, served.root)
        assert new.serial_number != first.serial_number
        assert new.not_valid_after_utc == clock.now + LIFETIME
        assert new.issuer == first.issuer


def test_it_is_due_after_two_thirds_of_its_life_or_up_to_a_twentieth_earlier(loaded: Loaded) -> None:
    clock = Clock()
    certificate = Identity(loaded, clock).certificate
    assert certificate.renew_at(0.0) == clock.now + timedelta(hours=16)
    assert certificate.renew_at(1.0) == clock.now + timedelta(hours=16) - timedelta(minutes=72)


def test_what_is_prepared_is_not_shown_before_it_is_adopted(served: Served, loaded: Loaded) -> None:
    identity = Identity(loaded)
    first = shown(identity, served.root)
    prepared = identity.prepare(loaded)
    assert shown(identity, served.root) == first
    identity.adopt(prepared)
    assert shown(identity, served.root) == prepared.certificate.chain[0]
