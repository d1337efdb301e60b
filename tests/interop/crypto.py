"""Sections 9.10 and 9.12: tokens and key sets by hand, and the linter."""

import json
import time

from tests.interop.matrix import operation
from tests.interop.stage import Side

CLAIMS = ("--iss", "me", "--aud", "you", "--sub", "it")
WANTED = ("--iss", "me", "--aud", "you")


def key_pair(side: Side) -> None:
    side.run("crypto", "jwk", "create", "k.pub.jwk", "k.jwk", "--no-password", "--insecure")


def signed(side: Side) -> str:
    key_pair(side)
    later = str(int(time.time()) + 600)
    return side.run("crypto", "jwt", "sign", "--key", "k.jwk", *CLAIMS, "--exp", later, stdin='{"n": 7}').out


@operation("9.12", "crypto jwt sign, verify and inspect")
def tokens(side: Side) -> None:
    token = signed(side)
    verified = side.run("crypto", "jwt", "verify", "--key", "k.pub.jwk", *WANTED, stdin=token).out
    assert json.loads(verified)["payload"]["n"] == 7
    assert side.run("crypto", "jwt", "inspect", "--insecure", stdin=token).out == verified


@operation("9.12", "crypto jwt verify for another audience, or changed")
def tokens_refused(side: Side) -> str:
    token = signed(side)
    side.run("crypto", "jwt", "verify", "--key", "k.pub.jwk", "--iss", "me", "--aud", "them", stdin=token, code=1)
    header, payload, signature = token.split(".")
    changed = f"{header}.{payload[:-4]}AAAA.{signature}"
    side.run("crypto", "jwt", "verify", "--key", "k.pub.jwk", *WANTED, stdin=changed, code=1)
    return "refuses (exit 1)"


@operation("9.12", "crypto jwk keyset add, list, find, remove")
def key_sets(side: Side) -> None:
    key_pair(side)
    public = (side.work / "k.pub.jwk").read_text()
    kid = json.loads(public)["kid"]
    side.run("crypto", "jwk", "keyset", "add", "set.json", stdin=public)
    assert side.run("crypto", "jwk", "keyset", "list", "set.json").out.strip() == kid
    assert json.loads(side.run("crypto", "jwk", "keyset", "find", "set.json", "--kid", kid).out) == json.loads(public)
    side.run("crypto", "jwk", "keyset", "remove", "set.json", "--kid", kid)
    assert json.loads((side.work / "set.json").read_text()) == {"keys": []}


@operation("9.10", "certificate lint prints JSON and exits 0")
def lint(side: Side) -> None:
    crt, _ = side.certificate("lint.example")
    assert json.loads(side.run("certificate", "lint", str(crt)).out)["errors_present"] in (True, False)
