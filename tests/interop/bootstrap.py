"""Section 2: bootstrap, STEPPATH and where flag values come from."""

import json

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Side


@operation("2", "ca bootstrap writes root and defaults", bootstrapped=False)
def bootstrap(side: Side) -> None:
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint)
    defaults = json.loads((side.steppath / "config" / "defaults.json").read_text())
    root = side.steppath / "certs" / "root_ca.crt"
    assert defaults == {"ca-url": side.url, "fingerprint": side.fingerprint, "root": str(root)}
    assert root.stat().st_mode & 0o777 == 0o600 and material.load(root) == material.load(side.root)


@operation("2", "ca bootstrap keeps stdout empty", bootstrapped=False)
def bootstrap_quiet(side: Side) -> None:
    assert side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint).out == ""


@operation("2", "ca bootstrap with an upper-case fingerprint", bootstrapped=False)
def bootstrap_upper(side: Side) -> None:
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint.upper())


@operation("2", "ca bootstrap with a wrong fingerprint", bootstrapped=False)
def bootstrap_wrong(side: Side) -> str:
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", "0" * 64, code=1)
    assert not (side.steppath / "certs" / "root_ca.crt").exists()
    return "refuses (exit 1)"


@operation("2", "ca bootstrap without a fingerprint", bootstrapped=False)
def bootstrap_missing_flag(side: Side) -> str:
    side.run("ca", "bootstrap", "--ca-url", side.url, code=1)
    return "refuses (exit 1)"


@operation("2", "ca bootstrap with a plain http URL", bootstrapped=False)
def bootstrap_http(side: Side) -> str:
    url = side.url.replace("https", "http")
    side.run("ca", "bootstrap", "--ca-url", url, "--fingerprint", side.fingerprint, code=1)
    return "refuses (exit 1)"


@operation("2", "ca bootstrap over existing files, no terminal")
def bootstrap_again(side: Side) -> str:
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint, code=1)
    return "refuses (exit 1)"


@operation("2", "ca bootstrap --force over existing files")
def bootstrap_force(side: Side) -> None:
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint, "--force")


@operation("2", "ca bootstrap from STEP_CA_URL and STEP_FINGERPRINT", bootstrapped=False)
def bootstrap_environment(side: Side) -> None:
    side.run("ca", "bootstrap", env={"STEP_CA_URL": side.url, "STEP_FINGERPRINT": side.fingerprint})


@operation("2", "flags win over the environment", bootstrapped=False)
def flag_precedence(side: Side) -> None:
    environment = {"STEP_CA_URL": "https://127.0.0.1:1", "STEP_FINGERPRINT": "0" * 64}
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint, env=environment)


@operation("2", "defaults.json supplies any flag of a command")
def defaults(side: Side) -> None:
    path = side.steppath / "config" / "defaults.json"
    values = json.loads(path.read_text())
    values |= {"provisioner": PROVISIONER, "provisioner-password-file": str(side.password_file), "not-after": "1h"}
    path.write_text(json.dumps(values))
    side.run("ca", "certificate", "defaults.example", "d.crt", "d.key")
    assert material.remaining(material.load(side.work / "d.crt")[0]) <= 3600


@operation("2", "ca certificate --token with an empty STEPPATH", bootstrapped=False)
def token_only(side: Side) -> None:
    token = side.token("token-only.example", "--ca-url", side.url, "--root", str(side.root))
    side.run("ca", "certificate", "token-only.example", "t.crt", "t.key", "--token", token)
    assert len(material.load(side.work / "t.crt")) == 2
