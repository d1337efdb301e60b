"""The witness has a certificate of the location's own authority where that can be asked; else its row says so."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.prove.sites import GOOD, Site, failed, laid_out
from tests.rig.authority import PROVISIONER, Served, founded
from tests.rig.nginx import short_directory
from troth.agent.config import Config, Identity, Source
from troth.agent.issuer import AuthorityIssuer
from troth.agent.prove import ProofRow, prove_location
from troth.agent.prove.vouched import OWN, SUBSTITUTED
from troth.agent.reading import read_config


@pytest.fixture(scope="module")
def authority() -> Iterator[Served]:
    with short_directory("authority") as directory, founded(directory) as served:
        served.start()
        yield served


def adopt(site: Site, authority: Served) -> Config:
    """The location's identity is kept by us and comes from the authority, which the location trusts."""
    source = Source(authority.url, PROVISIONER, authority.directory / "password", root=authority.root)
    files = {name: site.directory / f"one.{name}" for name in ("crt", "key")}
    identity = Identity("one", "one", (), None, source, files["crt"], files["key"], site.pki.trust)
    material = AuthorityIssuer().obtain(identity, None, datetime.now(UTC))
    files["crt"].write_bytes(material.certificate)
    files["key"].write_bytes(material.key)
    site.pki.trust.write_bytes(material.trust)
    return Config(site.directory / "troth.toml", site.directory / "state", (identity,), ())


def accepted(site: Site, declared: Config | None) -> ProofRow:
    rows = {row.id: row for row in prove_location(read_config(site.nginx), site.place(), site.nginx, declared)}
    assert failed(rows) == set()
    return rows["accepted"]


def test_the_authority_of_the_identity_vouches_for_the_witness(build: str, authority: Served) -> None:
    with laid_out(build, GOOD) as site:
        declared = adopt(site, authority)
        assert accepted(site, declared).detail == OWN
        assert accepted(site, None).detail == SUBSTITUTED

        (identity,) = declared.identities
        assert identity.source is not None
        elsewhere = replace(identity.source, url="https://127.0.0.1:1")
        away = replace(declared, identities=(replace(identity, source=elsewhere),))
        assert accepted(site, away).detail.startswith(f"{SUBSTITUTED}; https://127.0.0.1:1 gives no certificate: ")

        other = (site.directory / "up.crt").read_text()
        site.pki.trust.write_text(other)
        assert accepted(site, declared).detail.endswith("it trusts another authority than that of its identity")
