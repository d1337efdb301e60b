"""Section 9: the commands, their files, outputs and exit codes."""

import json

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Side


@operation("9.5", "ca health")
def health(side: Side) -> None:
    assert side.run("ca", "health").out.strip() == "ok"


@operation("9.5", "ca health of a port where nothing listens")
def health_down(side: Side) -> str:
    side.run("ca", "health", "--ca-url", "https://localhost:1", code=1)
    return "refuses (exit 1)"


@operation("9.5", "ca root prints PEM on stdout")
def root(side: Side) -> None:
    assert side.run("ca", "root").out.strip() == side.root.read_text().strip()


@operation("9.5", "ca root FILE writes 0600")
def root_file(side: Side) -> None:
    side.run("ca", "root", "ca.crt")
    path = side.work / "ca.crt"
    assert material.load(path) == material.load(side.root) and path.stat().st_mode & 0o777 == 0o600


@operation("9.5", "ca root of an unknown fingerprint")
def root_unknown(side: Side) -> str:
    side.run("ca", "root", "--fingerprint", "0" * 64, code=1)
    return "refuses (exit 1)"


@operation("9.5", "ca roots")
def roots(side: Side) -> None:
    assert side.run("ca", "roots").out.strip() == side.root.read_text().strip()


@operation("9.5", "ca federation")
def federation(side: Side) -> None:
    assert side.run("ca", "federation").out.strip() == side.root.read_text().strip()


@operation("9.3", "ca certificate: chain and key files, 0600")
def certificate(side: Side) -> None:
    crt, key = side.certificate("myuser")
    assert len(material.load(crt)) == 2
    assert [path.stat().st_mode & 0o777 for path in (crt, key)] == [0o600, 0o600]
    assert "EC PRIVATE KEY" in key.read_text()


@operation("9.3", "ca certificate keeps stdout empty and names the files")
def certificate_output(side: Side) -> None:
    keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(side.password_file))
    result = side.run("ca", "certificate", "myuser", "a.crt", "a.key", *keys)
    assert result.out == "" and "a.crt" in result.err and "a.key" in result.err


@operation("9.3", "ca certificate with the flags before the names")
def certificate_flags_first(side: Side) -> None:
    keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(side.password_file))
    side.run("ca", "certificate", *keys, "myuser", "a.crt", "a.key")


@operation("9.3", "ca certificate --token for another subject")
def certificate_other_subject(side: Side) -> str:
    token = side.token("one.example")
    side.run("ca", "certificate", "two.example", "a.crt", "a.key", "--token", token, code=1)
    assert not (side.work / "a.crt").exists() and not (side.work / "a.key").exists()
    return "refuses (exit 1)"


@operation("9.3", "ca certificate over existing files, no terminal")
def certificate_exists(side: Side) -> str:
    crt, key = side.certificate("myuser")
    before = crt.read_bytes(), key.read_bytes()
    keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(side.password_file))
    side.run("ca", "certificate", "myuser", str(crt), str(key), *keys, code=1)
    assert (crt.read_bytes(), key.read_bytes()) == before
    return "refuses (exit 1)"


@operation("9.3", "ca certificate into a directory that does not exist")
def certificate_no_directory(side: Side) -> str:
    keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(side.password_file))
    side.run("ca", "certificate", "myuser", "no/such/a.crt", "no/such/a.key", *keys, code=1)
    return "refuses (exit 1)"


@operation("9.3", "ca sign")
def sign(side: Side) -> None:
    _, csr = material.write_request(side, "sign.example", ("sign.example",))
    keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(side.password_file))
    side.run("ca", "sign", str(csr), "signed.crt", *keys)
    assert material.names_of(material.load(side.work / "signed.crt")[0]) == {"sign.example"}


@operation("9.3", "ca sign --token")
def sign_token(side: Side) -> None:
    _, csr = material.write_request(side, "sign.example", ("sign.example",))
    token = side.token("sign.example", "--cnf-file", str(csr))
    side.run("ca", "sign", str(csr), "signed.crt", "--token", token)
    assert len(material.load(side.work / "signed.crt")) == 2


@operation("9.3", "ca sign --token for another subject")
def sign_other_subject(side: Side) -> str:
    _, csr = material.write_request(side, "sign.example", ("sign.example",))
    side.run("ca", "sign", str(csr), "signed.crt", "--token", side.token("other.example"), code=1)
    assert not (side.work / "signed.crt").exists()
    return "refuses (exit 1)"


@operation("9.10", "certificate fingerprint")
def fingerprint(side: Side) -> None:
    assert side.run("certificate", "fingerprint", str(side.root)).out.strip() == side.fingerprint


@operation("9.10", "certificate inspect: text names issuer, names and provisioner")
def inspect(side: Side) -> None:
    text = side.run("certificate", "inspect", str(side.certificate("look.example")[0])).out
    for expected in ("Interop Intermediate CA", "DNS:look.example", PROVISIONER, "Digital Signature"):
        assert expected in text, f"{expected!r} is not in the text"


@operation("9.10", "certificate inspect --short")
def inspect_short(side: Side) -> None:
    text = side.run("certificate", "inspect", "--short", str(side.certificate("look.example")[0])).out
    assert "look.example" in text and "Interop Intermediate CA" in text and len(text.splitlines()) <= 10


@operation("9.10", "certificate inspect --format json")
def inspect_json(side: Side) -> None:
    text = side.run("certificate", "inspect", "--format", "json", str(side.certificate("look.example")[0])).out
    assert json.loads(text)["extensions"]["subject_alt_name"]["dns_names"] == ["look.example"]


@operation("9.10", "certificate inspect --format pem")
def inspect_pem(side: Side) -> None:
    crt, _ = side.certificate("look.example")
    text = side.run("certificate", "inspect", "--format", "pem", str(crt)).out
    assert text.count("BEGIN CERTIFICATE") == 1 and text.strip() in crt.read_text()


@operation("9.10", "certificate verify --roots")
def verify(side: Side) -> None:
    crt, _ = side.certificate("look.example")
    side.run("certificate", "verify", str(crt), "--roots", str(side.root))


@operation("9.10", "certificate verify against another root")
def verify_foreign(side: Side) -> str:
    crt, _ = side.certificate("look.example")
    material.openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=foreign"),
        *("-keyout", str(side.work / "f.key"), "-out", str(side.work / "f.crt"), "-days", "1"),
    )
    side.run("certificate", "verify", str(crt), "--roots", str(side.work / "f.crt"), code=1)
    return "refuses (exit 1)"


@operation("9.10", "certificate verify --host, right and wrong")
def verify_host(side: Side) -> None:
    crt, _ = side.certificate("look.example")
    side.run("certificate", "verify", str(crt), "--roots", str(side.root), "--host", "look.example")
    side.run("certificate", "verify", str(crt), "--roots", str(side.root), "--host", "other.example", code=1)


@operation("9.10", "certificate needs-renewal: 1 when fresh")
def needs_renewal_fresh(side: Side) -> None:
    side.run("certificate", "needs-renewal", str(side.certificate("look.example")[0]), code=1)


@operation("9.10", "certificate needs-renewal --expires-in: 0 when due")
def needs_renewal_due(side: Side) -> None:
    crt, _ = side.certificate("look.example")
    side.run("certificate", "needs-renewal", str(crt), "--expires-in", "25h", code=0)
    side.run("certificate", "needs-renewal", str(crt), "--expires-in", "0%", code=0)


@operation("9.10", "certificate needs-renewal: 2 when the file is missing")
def needs_renewal_missing(side: Side) -> None:
    side.run("certificate", "needs-renewal", "no-such.crt", code=2)


@operation("9.10", "certificate needs-renewal: 255 on anything else")
def needs_renewal_garbage(side: Side) -> None:
    (side.work / "garbage.crt").write_text("nothing")
    side.run("certificate", "needs-renewal", "garbage.crt", code=255)


@operation("9.1", "path prints STEPPATH")
def path(side: Side) -> None:
    assert side.run("path").out.strip() == str(side.steppath)
