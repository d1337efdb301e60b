"""Section 5: revocation by token and over mutual TLS."""

from tests.interop import material
from tests.interop.http import refused
from tests.interop.matrix import operation
from tests.interop.stage import Side


@operation("5", "ca revoke SERIAL --token")
def revoke_token(side: Side) -> None:
    crt, key = side.certificate("revoke.example")
    serial = str(material.serial_of(crt))
    result = side.run("ca", "revoke", serial, "--token", side.token(serial, "--revoke"))
    assert serial in result.err and "revoked" in result.err
    assert side.http("POST", "/renew", client=(crt, key)).status == 401


@operation("5", "ca revoke --cert --key")
def revoke_mtls(side: Side) -> None:
    crt, key = side.certificate("revoke.example")
    side.run("ca", "revoke", "--cert", str(crt), "--key", str(key))
    assert side.http("POST", "/renew", client=(crt, key)).status == 401


@operation("5", "ca revoke --reason --reasonCode by name")
def revoke_reason(side: Side) -> None:
    serial = str(material.serial_of(side.certificate("revoke.example")[0]))
    flags = ("--reason", "laptop lost", "--reasonCode", "keyCompromise")
    side.run("ca", "revoke", serial, "--token", side.token(serial, "--revoke"), *flags)


@operation("5", "POST /revoke twice")
def revoke_twice(side: Side) -> str:
    serial = str(material.serial_of(side.certificate("revoke.example")[0]))
    first = side.http("POST", "/revoke", {"serial": serial, "ott": side.token(serial, "--revoke"), "passive": True})
    assert (first.status, first.json) == (200, {"status": "ok"})
    body = {"serial": serial, "ott": side.token(serial, "--revoke"), "passive": True}
    return refused(side.http("POST", "/revoke", body), 400)


@operation("5", "POST /revoke of a serial never issued")
def revoke_unknown(side: Side) -> None:
    import secrets

    serial = str(secrets.randbits(120))
    body = {"serial": serial, "ott": side.token(serial, "--revoke"), "passive": True}
    assert side.http("POST", "/revoke", body).status == 200


@operation("5", "POST /revoke of a hexadecimal serial")
def revoke_hex(side: Side) -> None:
    number = material.serial_of(side.certificate("revoke.example")[0])
    body = {"serial": hex(number), "ott": side.token(str(number), "--revoke"), "passive": True}
    assert side.http("POST", "/revoke", body).status == 200


@operation("5", "POST /revoke with a token for another serial")
def revoke_other(side: Side) -> str:
    body = {"serial": "12345", "ott": side.token("54321", "--revoke"), "passive": True}
    return refused(side.http("POST", "/revoke", body), 403)


@operation("5", "POST /revoke of another certificate over mutual TLS")
def revoke_other_mtls(side: Side) -> str:
    client = side.certificate("revoke.example")
    return refused(side.http("POST", "/revoke", {"serial": "12345", "passive": True}, client=client), 403)


@operation("5", "POST /revoke with a reason code out of range")
def revoke_bad_reason(side: Side) -> str:
    body = {"serial": "1", "ott": side.token("1", "--revoke"), "passive": True, "reasonCode": 11}
    return refused(side.http("POST", "/revoke", body), 400)


@operation("5", "POST /revoke of a serial that is no number")
def revoke_bad_serial(side: Side) -> str:
    body = {"serial": "xyz", "ott": side.token("xyz", "--revoke"), "passive": True}
    return refused(side.http("POST", "/revoke", body), 400)
