"""Section 9.2: ``ca init`` by one program, served by the other side's authority."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import PASSWORD, PROVISIONER, Side, free_port, serving


def init(side: Side, *flags: str, code: int = 0) -> Side:
    """A directory by the side's program; what it holds is the caller's to look at."""
    directory, port = side.work / "new", free_port()
    directory.mkdir(exist_ok=True)
    (directory / "password").write_text(PASSWORD)
    secret = ("--password-file", str(directory / "password"))
    names = ("--name", "Fresh", "--dns", "localhost,127.0.0.1", "--address", f"127.0.0.1:{port}")
    whole = (*names, "--provisioner", PROVISIONER, "--deployment-type", "standalone", *secret, *flags)
    side.run("ca", "init", *whole, code=code, env={"STEPPATH": str(directory)})
    return replace(side, ca_dir=directory, port=port)


def configuration(own: Side) -> Any:
    return json.loads((own.ca_dir / "config" / "ca.json").read_text())


@operation("9.2", "ca init: files, modes, and a certificate from what it made")
def init_serves(side: Side) -> None:
    own = init(side)
    secret = {"certs/root_ca.crt", "certs/intermediate_ca.crt", "secrets/root_ca_key", "secrets/intermediate_ca_key"}
    for name in secret:
        assert (own.ca_dir / name).stat().st_mode & 0o777 == 0o600, name
    assert all((own.ca_dir / name).is_dir() for name in ("db", "templates"))
    defaults = json.loads((own.ca_dir / "config" / "defaults.json").read_text())
    assert set(defaults) == {"ca-url", "ca-config", "fingerprint", "root"} and defaults["ca-url"] == own.url
    for key in ("root_ca_key", "intermediate_ca_key"):
        assert "ENCRYPTED" in (own.ca_dir / "secrets" / key).read_text()
    with serving(own.serve, own.ca_dir, own.port):
        own.bootstrap()
        own.certificate("first.example")


@operation("9.2", "ca init --acme adds the provisioner acme")
def init_acme(side: Side) -> None:
    kinds = [(one["type"], one["name"]) for one in configuration(init(side, "--acme"))["authority"]["provisioners"]]
    assert kinds == [("JWK", PROVISIONER), ("ACME", "acme")]


@operation("9.2", "ca init --pki: certificates and keys only")
def init_pki(side: Side) -> None:
    own = init(side, "--pki")
    assert (own.ca_dir / "secrets" / "intermediate_ca_key").exists()
    assert not (own.ca_dir / "config" / "ca.json").exists()


@operation("9.2", "ca init --no-db leaves the database out")
def init_no_db(side: Side) -> None:
    assert not configuration(init(side, "--no-db")).get("db")


@operation("9.2", "ca init --with-ca-url")
def init_url(side: Side) -> None:
    own = init(side, "--with-ca-url", "https://ca.example.com:8443")
    defaults = json.loads((own.ca_dir / "config" / "defaults.json").read_text())
    assert defaults["ca-url"] == "https://ca.example.com:8443"


@operation("9.2", "ca init --root --key: an intermediate below one's own root")
def init_root(side: Side) -> None:
    root, key = str(side.work / "own.crt"), str(side.work / "own.key")
    plain = ("--no-password", "--insecure")
    side.run("certificate", "create", "Own Root", root, key, "--profile", "root-ca", *plain)
    own = init(side, "--root", root, "--key", key)
    made = material.load(own.ca_dir / "certs" / "intermediate_ca.crt")[0]
    assert made.issuer == material.load(Path(root))[0].subject
    assert not (own.ca_dir / "secrets" / "root_ca_key").exists()
    with serving(own.serve, own.ca_dir, own.port):
        own.bootstrap()
        own.certificate("first.example")


@operation("9.2", "ca init --provisioner-password-file: two passwords")
def init_two_passwords(side: Side) -> None:
    other = side.work / "other"
    other.write_text("the provisioner's own")
    own = init(side, "--provisioner-password-file", str(other))
    with serving(own.serve, own.ca_dir, own.port):
        own.bootstrap()
        flags = ("--provisioner", PROVISIONER, "--password-file")
        own.run("ca", "token", "x.example", *flags, str(other))
        own.run("ca", "token", "x.example", *flags, str(own.password_file), code=1)


@operation("9.2", "ca init without a name and without a terminal")
def init_asks(side: Side) -> str:
    side.run("ca", "init", code=1, env={"STEPPATH": str(side.work / "new")})
    assert not (side.work / "new" / "secrets" / "root_ca_key").exists()
    return "refuses (exit 1)"


@operation("9.2", "ca init reads its flags from STEP_<FLAG>")
def init_environment(side: Side) -> None:
    directory = side.work / "new"
    secret = side.work / "secret"
    secret.write_text(PASSWORD)
    names = {"STEP_NAME": "Env", "STEP_DNS": "localhost", "STEP_ADDRESS": ":9443", "STEP_PROVISIONER": "me"}
    more = {"STEP_PASSWORD_FILE": str(secret), "STEP_DEPLOYMENT_TYPE": "standalone", "STEPPATH": str(directory)}
    side.run("ca", "init", env={**names, **more})
    assert json.loads((directory / "config" / "ca.json").read_text())["address"] == ":9443"
    assert os.access(directory / "secrets" / "root_ca_key", os.R_OK)
