"""Section 2, contexts: several authorities below one STEPPATH."""

import json

from tests.interop.matrix import operation
from tests.interop.stage import Side


def bootstrap(side: Side, *flags: str, code: int = 0) -> None:
    side.run("ca", "bootstrap", "--ca-url", side.url, "--fingerprint", side.fingerprint, *flags, code=code)


def value(side: Side, *path: str) -> object:
    return json.loads(side.steppath.joinpath(*path).read_text())


@operation("2.1", "ca bootstrap --context: the files and who is current", bootstrapped=False)
def layout(side: Side) -> None:
    bootstrap(side, "--context", "one")
    bootstrap(side, "--context", "two", "--authority", "a", "--profile", "p")
    members = {"one": {"profile": "one", "authority": "one"}, "two": {"profile": "p", "authority": "a"}}
    assert value(side, "contexts.json") == members and value(side, "current-context.json") == {"context": "two"}
    assert value(side, "profiles", "p", "config", "defaults.json") == {}
    defaults = value(side, "authorities", "a", "config", "defaults.json")
    assert defaults == {
        "ca-url": side.url,
        "fingerprint": side.fingerprint,
        "root": str(side.steppath / "authorities" / "a" / "certs" / "root_ca.crt"),
    }
    modes = {name: (side.steppath / name).stat().st_mode & 0o777 for name in ("contexts.json", "current-context.json")}
    assert modes == {"contexts.json": 0o600, "current-context.json": 0o644}


@operation("2.1", "path, path --base and path --profile with contexts", bootstrapped=False)
def paths(side: Side) -> None:
    bootstrap(side, "--context", "one", "--profile", "p")
    shown = [side.run("path", *flags).out.strip() for flags in ((), ("--base",), ("--profile",))]
    base = str(side.steppath)
    assert shown == [f"{base}/authorities/one", base, f"{base}/profiles/p"]


@operation("2.1", "context list, select, current, remove", bootstrapped=False)
def selection(side: Side) -> None:
    bootstrap(side, "--context", "one")
    bootstrap(side, "--context", "two")
    assert side.run("context", "list").out == "▶ two\none\n"
    side.run("context", "select", "one")
    whole = {"name": "one", "authority": "one", "profile": "one"}
    assert json.loads(side.run("context", "current", "--json").out) == whole
    side.run("context", "remove", "two", "--force")
    assert side.run("context", "list").out == "▶ one\n" and not (side.steppath / "authorities" / "two").exists()


@operation("2.1", "context remove of the current one, select of an unknown one", bootstrapped=False)
def refused(side: Side) -> str:
    bootstrap(side, "--context", "one")
    side.run("context", "remove", "one", "--force", code=1)
    side.run("context", "select", "nope", code=1)
    assert side.run("context", "current").out == "one\n"
    return "refuses (exit 1)"


@operation("2.1", "ca commands by --context and STEP_CONTEXT, profile over authority", bootstrapped=False)
def chosen(side: Side) -> None:
    bootstrap(side, "--context", "one")
    bootstrap(side, "--context", "two")
    nowhere = side.steppath / "profiles" / "two" / "config" / "defaults.json"
    nowhere.write_text(json.dumps({"ca-url": "https://localhost:1"}))
    side.run("ca", "health", code=1)
    assert side.run("ca", "health", "--context", "one").out == "ok\n"
    assert side.run("ca", "health", env={"STEP_CONTEXT": "one"}).out == "ok\n"
    side.run("ca", "health", "--context", "nope", code=1)


@operation("9.11", "certificate install of a certificate that is no root")
def install_leaf(side: Side) -> str:
    crt, _ = side.certificate("leaf.example")
    side.run("certificate", "install", str(crt), code=1)
    side.run("certificate", "uninstall", str(crt), code=1)
    return "refuses (exit 1)"
