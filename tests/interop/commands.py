"""Section 9: the commands, their files, outputs and exit codes."""

import json
import shutil

from tests.interop import material
from tests.interop.configured import configured
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


@operation("9.3", "ca certificate --san --not-after --kty RSA --size")
def certificate_flags(side: Side) -> None:
    flags = ("--san", "a.example", "--san", "10.0.0.7", "--not-after", "2h", "--kty", "RSA", "--size", "3072")
    crt, key = side.certificate("myuser", *flags)
    leaf = material.load(crt)[0]
    assert material.names_of(leaf) == {"a.example", "10.0.0.7"} and "RSA PRIVATE KEY" in key.read_text()
    assert material.lifetime(leaf) == 2 * 3600 + 60 and getattr(leaf.public_key(), "key_size", 0) == 3072


@operation("9.3", "ca certificate --force over existing files keeps their modes")
def certificate_modes(side: Side) -> None:
    crt, key = side.certificate("myuser")
    crt.chmod(0o644)
    key.chmod(0o640)
    side.certificate("myuser")
    assert [path.stat().st_mode & 0o777 for path in (crt, key)] == [0o644, 0o640]


@operation("9.3", "ca sign over an existing file, no terminal")
def sign_exists(side: Side) -> str:
    _, csr = material.write_request(side, "sign.example", ("sign.example",))
    (side.work / "signed.crt").write_text("mine")
    keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(side.password_file))
    side.run("ca", "sign", str(csr), "signed.crt", *keys, code=1)
    assert (side.work / "signed.crt").read_text() == "mine"
    return "refuses (exit 1)"


@operation("9.4", "ca token --renew: the certificate's key signs")
def token_renew(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    token = side.run("ca", "token", "renew.example", "--renew", "--x5c-cert", str(crt), "--x5c-key", str(key)).out
    header, claims = material.header_of(token.strip()), material.claims_of(token.strip())
    assert len(header["x5cInsecure"]) == 2 and claims["aud"] == side.url + "/1.0/renew"
    answer = side.http("POST", "/renew", headers={"Authorization": f"Bearer {token.strip()}"})
    assert answer.status == 201


@operation("7.7", "ca token and ca certificate by X5C")
def by_x5c(side: Side) -> None:
    import base64

    roots = base64.b64encode(side.root.read_bytes()).decode()
    with configured(side) as own:
        crt, key = own.certificate("machine.example")
    raw = json.loads((side.ca_dir / "config" / "ca.json").read_text())["authority"]["provisioners"]
    shutil.rmtree(side.work / "ca")
    with configured(side, {"provisioners": [*raw, {"type": "X5C", "name": "fleet", "roots": roots}]}) as own:
        flags = ("--x5c-cert", str(crt), "--x5c-key", str(key))
        token = own.run("ca", "token", "web.example", *flags).out.strip()
        claims = material.claims_of(token)
        assert claims["aud"] == own.url + "/1.0/sign#x5c/fleet" and len(material.header_of(token)["x5c"]) >= 1
        own.run("ca", "certificate", "web.example", "a.crt", "a.key", "--token", token)
        own.run("ca", "certificate", "web.example", "b.crt", "b.key", *flags)
        longest = material.load(crt)[0].not_valid_after_utc
        assert all(material.load(own.work / name)[0].not_valid_after_utc <= longest for name in ("a.crt", "b.crt"))


@operation("9.8", "ca revoke of a 0x serial by token")
def revoke_hexadecimal(side: Side) -> None:
    number = material.serial_of(side.certificate("gone.example")[0])
    side.run("ca", "revoke", hex(number), "--token", side.token(str(number), "--revoke"))


@operation("9.8", "ca revoke with neither serial nor certificate")
def revoke_nothing(side: Side) -> str:
    side.run("ca", "revoke", code=1)
    return "refuses (exit 1)"


@operation("9.1", "flags after and before the argument; an unknown flag and an unknown command")
def flag_places(side: Side) -> None:
    side.run("ca", "root", "--force", "first.crt")
    side.run("ca", "root", "second.crt", "--force")
    side.run("ca", "health", "--no-such-flag", code=1)
    side.run("ca", "no-such-command", code=3)
