"""The doctor names what a real nginx shows: its refusal, its log line or its answer, and says nothing once cured."""

import json
import re
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.nginx.reproducers import (
    CHECK,
    ID,
    Prepare,
    intermediate_first,
    intermediate_trusted,
    list_of_intermediate,
    nothing,
)
from tests.nginx.sites import make_certificates
from tests.rig.nginx import frame, get, program, programs, short_directory
from tests.rig.pki import CLIENT, HOUR, SERVER, Pki
from troth.cli.nginx import doctor
from troth.cli.nginx_doctor import UnknownSymptomError
from troth.host.nginx import Nginx, NginxTestError
from troth.host.ports import free_ports
from troth.host.witness import Shown, Witness
from troth.nginx.diagnosis import RULES
from troth.nginx.diagnosis.page import UNREPRODUCED, page
from troth.nginx.diagnosis.rule import REFUSED_CONFIG

NAME = "proxy_ssl_name up.test; proxy_ssl_server_name on; proxy_set_header Host up.test;"
UP = (
    "listen 127.0.0.1:PORT2 ssl; server_name up.test; error_log TLS/up.log info; "
    "ssl_certificate TLS/server.crt; ssl_certificate_key TLS/server.key;"
)
ASKS = "ssl_client_certificate TLS/ca.crt; ssl_verify_client on; ssl_verify_depth 2;"
GOOD = f"{ID} {CHECK} {NAME}"


@dataclass(frozen=True)
class Case:
    """`bad` in the location shows the symptom, `good` cures it; `up` is the upstream's server."""

    bad: str
    good: str = GOOD
    up: str = UP + ASKS
    target: str = "https://127.0.0.1:PORT2"
    spoil: Prepare = nothing
    more: str = ""


def shown(name: str, **fault: object) -> Prepare:
    """Another certificate as client.crt or server.crt, with a fault."""

    def write(directory: Path, pki: Pki) -> None:
        pair = pki.leaf("up.test" if name == "server" else "client", file="made", **fault)  # type: ignore[arg-type]
        (directory / f"{name}.crt").write_bytes(pair.certificate.read_bytes())
        (directory / f"{name}.key").write_bytes(pair.key.read_bytes())

    return write


def text(file: str, content: str) -> Prepare:
    def write(directory: Path, _: Pki) -> None:
        (directory / file).write_text(content)

    return write


def cut(file: str) -> Prepare:
    def write(directory: Path, _: Pki) -> None:
        (directory / file).write_bytes((directory / file).read_bytes()[:300])

    return write


def foreign(file: str) -> Prepare:
    def write(directory: Path, _: Pki) -> None:
        (directory / file).write_bytes(Pki(directory / "foreign", "Foreign").trust.read_bytes())

    return write


def readable(directory: Path, _: Pki) -> None:
    """With a variable the workers read the keys."""
    for path in directory.glob("*.key"):
        path.chmod(0o644)


KEY = "proxy_ssl_certificate_key TLS/client.key;"


def der(directory: Path, _: Pki) -> None:
    text = (directory / "client.crt").read_text().partition("-----END")[0]
    (directory / "client.crt").write_bytes(ssl.PEM_cert_to_DER_cert(text + "-----END CERTIFICATE-----\n"))


def encrypted(directory: Path, _: Pki) -> None:
    key = load_pem_private_key((directory / "client.key").read_bytes(), None)
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (directory / "client.key").write_bytes(key.private_bytes(*form))
    (directory / "words").write_text("wrong\n")


def broken_pair(directory: Path, _: Pki) -> None:
    readable(directory, _)
    (directory / "client.crt").write_text("")


def days(count: int) -> Prepare:
    return lambda directory, pki: pki.crl(directory / "crl.pem", shift=24 * count * HOUR)


def revoked(directory: Path, pki: Pki) -> None:
    pair = pki.leaf("up.test", file="made")
    (directory / "server.crt").write_bytes(pair.certificate.read_bytes())
    (directory / "server.key").write_bytes(pair.key.read_bytes())
    pki.crl(directory / "crl.pem", pair.serial)


VARIABLE = "set $f TLS/client; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key $f.key;"
CASES = {
    "leaf-not-first": Case(GOOD, spoil=intermediate_first),
    "key-encrypted": Case(GOOD, spoil=encrypted),
    "password-wrong": Case(f"{GOOD} proxy_ssl_password_file TLS/words;", spoil=encrypted),
    "file-der": Case(GOOD, spoil=der),
    "root-missing": Case(f"{GOOD} proxy_ssl_verify_depth 2;", up=UP, spoil=intermediate_trusted),
    "list-incomplete": Case(f"{GOOD} proxy_ssl_crl TLS/crl.pem;", spoil=list_of_intermediate),
    "list-expired": Case(f"{GOOD} proxy_ssl_crl TLS/crl.pem;", spoil=days(-9)),
    "upstream-revoked": Case(f"{GOOD} proxy_ssl_crl TLS/crl.pem;", spoil=revoked),
    "key-unreadable-by-workers": Case(f"{VARIABLE} {CHECK} {NAME}"),
    "variable-file-broken": Case(f"{VARIABLE} {CHECK} {NAME}", spoil=broken_pair),
    "resolver-missing": Case(f"{GOOD} set $up up.invalid;", target="https://$up"),
    "socket-missing": Case(GOOD, target="https://unix:/nonexistent/up.sock:"),
    "pair-mismatch": Case(f"proxy_ssl_certificate TLS/client.crt; proxy_ssl_certificate_key TLS/other.key; {NAME}"),
    "key-not-named": Case("proxy_ssl_certificate TLS/client.crt;"),
    "file-missing": Case("proxy_ssl_certificate TLS/gone.crt; proxy_ssl_certificate_key TLS/client.key;"),
    "file-empty": Case(GOOD, spoil=text("client.crt", "")),
    "files-swapped": Case("proxy_ssl_certificate TLS/client.key; proxy_ssl_certificate_key TLS/client.crt;"),
    "pem-broken": Case(GOOD, spoil=cut("client.crt")),
    "trust-not-named": Case("proxy_ssl_verify on;"),
    "variable-in-trust": Case("set $ca x; proxy_ssl_verify on; proxy_ssl_trusted_certificate TLS/$ca;"),
    "list-missing-file": Case(f"{GOOD} proxy_ssl_crl TLS/gone.pem;"),
    "cipher-unknown": Case(f"{GOOD} proxy_ssl_ciphers TLS_AES_256_GCM_SHA384;"),
    "conf-command-refused": Case(f"{GOOD} proxy_ssl_conf_command Groups nonsense;"),
    "no-tls-in-module": Case(f"{GOOD} fastcgi_ssl_verify on;"),
    "directive-misspelt": Case(f"{GOOD} proxy_ssl_certifcate x;"),
    "value-invalid": Case(f"{GOOD} proxy_ssl_protocols TLSv9;"),
    "directive-twice": Case(f"{GOOD} proxy_ssl_verify on;"),
    "wrong-level": Case(f"{GOOD} upstream x {{ server 127.0.0.1:1; }}"),
    "upstream-unresolved": Case(GOOD, target="https://nowhere.invalid"),
    "include-missing": Case(f"{GOOD} include TLS/gone.conf;"),
    "not-terminated": Case(f"{GOOD} proxy_ssl_verify_depth 2"),
    "clients-authority-missing": Case(GOOD, up=UP + "ssl_verify_client on;"),
    "server-certificate-missing": Case(GOOD, up="listen 127.0.0.1:PORT2 ssl;"),
    "shows-nothing": Case(f"{CHECK} {NAME}"),
    "shows-key-only": Case(f"{CHECK} {NAME} {KEY}"),
    "shows-expired": Case(GOOD, spoil=shown("client", ended=True)),
    "shows-future": Case(GOOD, spoil=shown("client", shift=5 * HOUR)),
    "shows-purpose": Case(GOOD, spoil=shown("client", purposes=(SERVER,))),
    "shows-leaf-only": Case(GOOD, spoil=shown("client", leaf_only=True)),
    "plain-to-tls": Case(GOOD, target="http://127.0.0.1:PORT2"),
    "misdirected": Case(
        f"{ID} {CHECK} proxy_ssl_name up.test; proxy_ssl_server_name on; proxy_set_header Host else.test;",
        up=f"{UP} {ASKS} }} server {{ {UP.replace('up.test', 'else.test')} {ASKS}",
    ),
    "upstream-expired": Case(GOOD, spoil=shown("server", ended=True)),
    "upstream-future": Case(GOOD, spoil=shown("server", shift=5 * HOUR)),
    "upstream-purpose": Case(GOOD, spoil=shown("server", purposes=(CLIENT,))),
    "upstream-leaf-only": Case(GOOD, spoil=shown("server", leaf_only=True)),
    "depth-too-small": Case(f"{GOOD} proxy_ssl_verify_depth 0;"),
    "authority-unknown": Case(f"{GOOD}", up=UP, spoil=foreign("ca.crt")),
    "name-is-address": Case(f"{ID} {CHECK}"),
    "name-is-group": Case(f"{ID} {CHECK}", target="https://pool", more="upstream pool { server 127.0.0.1:PORT2; }\n"),
    "name-wrong": Case(f"{ID} {CHECK} proxy_ssl_name else.test;"),
    "protocol-version": Case(f"{GOOD} proxy_ssl_protocols TLSv1.2;", up=f"{UP} {ASKS} ssl_protocols TLSv1.3;"),
    "upstream-plain": Case(GOOD, up="listen 127.0.0.1:PORT2;"),
    "refused-connection": Case(GOOD, target="https://127.0.0.1:1"),
    "variable-pair-mismatch": Case(
        f"set $f TLS/client; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key TLS/other.key; {CHECK} {NAME}",
        spoil=readable,
    ),
    "variable-names-nothing": Case(
        f"set $f TLS/gone; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key $f.key; {CHECK} {NAME}"
    ),
}


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("doctor-pki") as directory:
        yield make_certificates(directory / "tls")


def lay_out(directory: Path, binary: Path, pki: Pki, case: Case, *, bad: bool) -> tuple[Nginx, int]:
    """The site with its fault or without."""
    shutil.rmtree(directory / "tls", ignore_errors=True)
    shutil.copytree(pki.directory, directory / "tls")
    if bad:
        mine = Pki.__new__(Pki)
        mine.__dict__.update(pki.__dict__, directory=directory / "tls")
        case.spoil(directory / "tls", mine)
    lines = case.bad if bad else case.good
    target = case.target if bad else "https://127.0.0.1:PORT2"
    up = case.up if bad else UP + ASKS
    ports = free_ports(2)
    body = (
        f"{case.more}server {{\nlisten 127.0.0.1:PORT;\nserver_name app.test;\n"
        f"location /x {{\nproxy_pass {target};\n{lines}\n}}\n}}\n"
        f"server {{\n{up}\nlocation / {{ return 204; }}\n}}\n"
    )
    full = frame(directory, body).replace("PORT2", str(ports[1])).replace("PORT", str(ports[0]))
    (directory / "nginx.conf").write_text(re.sub(r"\bTLS(?=[/;])", str(directory / "tls"), full))
    (directory / "error.log").unlink(missing_ok=True)
    return Nginx(binary, directory / "nginx.conf", directory), ports[0]


def run(nginx: Nginx, *words: str) -> tuple[int, list[dict[str, object]]]:
    """The exit code and what was found."""
    options = ["--nginx", str(nginx.binary), "-c", str(nginx.main), "-p", str(nginx.main.parent), "--json"]
    result = CliRunner().invoke(doctor, [*options, *words], standalone_mode=False)
    assert isinstance(result.return_value, int), result.output + repr(result.exception)
    return result.return_value, json.loads(result.output)["diagnoses"]


@pytest.mark.parametrize("rule", sorted(CASES))
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_doctor_names_the_cause_and_finds_nothing_once_cured(build: str, rule: str, pki: Pki) -> None:
    case, binary = CASES[rule], program(build)
    with short_directory("doctor") as directory:
        nginx, port = lay_out(directory, binary, pki, case, bad=True)
        if next(one for one in RULES if one.id == rule).source == REFUSED_CONFIG:
            with pytest.raises(NginxTestError):
                nginx.test()
            code, found = run(nginx)
        else:
            nginx.start()
            try:
                assert get(port, "/x")[0] >= 400
                code, found = run(nginx, f"http://127.0.0.1:{port}/x")
            finally:
                nginx.stop()
        assert (code, [one["id"] for one in found]) == (2, [rule]), found
        assert found[0]["evidence"]
        nginx, port = lay_out(directory, binary, pki, case, bad=False)
        nginx.start()
        try:
            assert get(port, "/x")[0] == 204
            assert run(nginx) == (0, [])
        finally:
            nginx.stop()


THEIRS: dict[str, dict[str, object]] = {
    "they-say-expired": {"ended": True},
    "they-say-future": {"shift": 5 * HOUR},
    "they-say-purpose": {"purposes": (SERVER,)},
    "they-say-leaf-only": {"leaf_only": True},
}


@pytest.mark.parametrize("rule", sorted(THEIRS))
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_upstreams_own_log_is_understood(build: str, rule: str, pki: Pki) -> None:
    with short_directory("doctor") as directory:
        nginx, port = lay_out(
            directory, program(build), pki, Case(GOOD, spoil=shown("client", **THEIRS[rule])), bad=True
        )
        nginx.start()
        try:
            assert get(port, "/x")[0] == 400
            code, found = run(nginx, "--log", str(directory / "tls" / "up.log"))
        finally:
            nginx.stop()
        assert (code, [one["id"] for one in found]) == (2, [rule])


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_handshake_names_the_cause_where_nobody_sent_a_request(build: str, pki: Pki) -> None:
    for rule in ("shows-nothing", "shows-expired", "upstream-expired", "depth-too-small", "name-wrong"):
        with short_directory("doctor") as directory:
            nginx, _ = lay_out(directory, program(build), pki, CASES[rule], bad=True)
            nginx.start()
            try:
                code, found = run(nginx, "--location", "/x")
            finally:
                nginx.stop()
            assert (code, [one["id"] for one in found]) == (2, [rule])


STRICT = {
    "client-none": (f"{CHECK} {NAME}", nothing),
    "client-expired": (GOOD, shown("client", ended=True)),
    "client-purpose": (GOOD, shown("client", purposes=(SERVER,))),
    "client-leaf-only": (GOOD, shown("client", leaf_only=True)),
}


@pytest.mark.parametrize("rule", sorted(STRICT))
@pytest.mark.parametrize("build", sorted(programs()))
def test_an_alert_is_named_even_where_a_reset_ate_it(build: str, rule: str, pki: Pki) -> None:
    """The upstream is OpenSSL through Python; it refuses in the handshake and hangs up."""
    server = pki.leaf("up.test", file="strict")
    lines, spoil = STRICT[rule]
    with (
        short_directory("doctor") as directory,
        Witness(0, Shown(server.chain, server.private), [pki.root], required=True) as witness,
    ):
        tls13 = " proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        case = Case(lines + tls13, target=f"https://127.0.0.1:{witness.port}", spoil=spoil)
        nginx, port = lay_out(directory, program(build), pki, case, bad=True)
        nginx.start()
        try:
            assert get(port, "/x")[0] == 502
            code, found = run(nginx, f"http://127.0.0.1:{port}/x")
        finally:
            nginx.stop()
        assert (code, [one["id"] for one in found]) == (2, [rule]), found


def test_a_pasted_line_is_explained_and_an_unknown_one_is_refused() -> None:
    line = "connect() failed (111: Connection refused) while connecting to upstream"
    result = CliRunner().invoke(doctor, [line], standalone_mode=False)
    assert result.return_value == 2
    assert result.output.startswith("refused-connection")
    assert CliRunner().invoke(doctor, ["-"], input=line, standalone_mode=False).return_value == 2
    assert isinstance(CliRunner().invoke(doctor, ["hello"], standalone_mode=False).exception, UnknownSymptomError)


def test_the_page_says_which_rules_no_test_reproduces() -> None:
    reproduced = set(CASES) | set(STRICT) | set(THEIRS)
    assert {rule.id for rule in RULES} - reproduced == set(UNREPRODUCED)
    assert len(reproduced) >= 45
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_the_page_of_rules_is_up_to_date() -> None:
    committed = Path(__file__).parents[2] / "docs" / "reference" / "diagnosis.md"
    assert committed.read_text() == page(), "run: python -m troth.nginx.diagnosis.page > docs/reference/diagnosis.md"
