"""Whatever is wrong in a troth.toml is refused by file and key before anything is done; nothing is guessed."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.agent.config import ClientAuth, ConfigError, Location, load, parse
from troth.errors import TrothError

PATH = Path("/etc/nginx/troth.toml")
GOOD = """
[agent]
state = "/var/lib/troth"
log = "json"
renew-at = 0.5
proof-timeout = 5

[nginx]
binary = "/usr/sbin/nginx"
conf = "/etc/nginx/nginx.conf"
prefix = "/etc/nginx"
include-dir = "troth"
reload = ["systemctl", "reload", "nginx"]

[[identity]]
name = "app"
subject = "app.internal.net"
sans = ["app.internal.net", "10.0.0.1"]
dir = "mtls/app"
kty = "RSA"
mode = "0640"
[identity.ca]
url = "https://ca.internal.net:9000"
provisioner = "admin"
password-file = "password"
token-file = "token"
fingerprint = "7a3a9b4f43b5d9eb19ec6c08e0bbb3c8b1e8a2ab1d1a3c14ed4e8b0ac0a48d61"
root = "root.crt"
not-after = "24h"

[[identity]]
name = "theirs"
certificate = "theirs.crt"
key = "theirs.key"
trust = "/etc/ssl/theirs-ca.crt"

[[location]]
server = "app.test"
path = "/api"
identity = "app"
upstream = "https://api.internal.net"
name = "api.internal.net"
mode = "static"
report = "http://127.0.0.1:8080/whoami"

[[location]]
path = "/other"
identity = "theirs"
"""
STREAM = '\n[[stream]]\nlisten = "1"\nidentity = "app"\n'
ASKED = '\n[[client-auth]]\nserver = "a"\ntrust = "clients.crt"\n'


def test_a_whole_declaration() -> None:
    config = parse(GOOD, PATH)
    app, theirs = config.identities
    assert (config.state, config.log, config.renew_at, config.proof_timeout) == (Path("/var/lib/troth"), "json", 0.5, 5)
    assert config.nginx.include_dir == Path("/etc/nginx/troth")
    assert config.nginx.reload == ("systemctl", "reload", "nginx")
    assert (app.subject, app.kty, app.key_mode, app.renewed) == ("app.internal.net", "RSA", 0o640, True)
    assert app.certificate == Path("/etc/nginx/mtls/app/current/client.crt")
    assert app.source is not None
    assert app.source.password_file == Path("/etc/nginx/password")
    assert (theirs.renewed, theirs.key) == (False, Path("/etc/nginx/theirs.key"))
    assert theirs.trust == Path("/etc/ssl/theirs-ca.crt")
    assert [location.identity for location in config.locations] == ["app", "theirs"]


def test_servers_of_stream_and_servers_that_ask_for_certificates() -> None:
    more = 'upstream = "db:1"\nname = "db.test"\n' + ASKED + 'headers = { X-A = "cert" }\n'
    config = parse(f"{GOOD}{STREAM}{more}", Path("/etc/nginx/troth.toml"))
    assert config.locations[-1] == Location("", "app", upstream="db:1", name="db.test", listen="1")
    assert config.guards == (ClientAuth("a", Path("/etc/nginx/clients.crt"), "on", 2, (("X-A", "cert"),)),)
    grpc = GOOD.replace('"https://api.internal', '"grpcs://api.internal')
    assert parse(grpc, Path("/x")).locations[0].upstream == "grpcs://api.internal.net"


def test_what_is_not_said_has_its_default() -> None:
    config = parse('[[identity]]\nname = "a"\ndir = "a"\nca = "https://ca.test"\n', PATH)
    assert config.state == Path("/etc/nginx/troth-state")
    assert (config.log, config.proof_timeout) == ("text", 10)
    assert config.renew_at == pytest.approx(2 / 3)
    one = config.identities[0]
    assert (one.subject, one.kty, one.key_mode, one.sans) == ("a", "EC", 0o600, ())


def without(key: str, occurrence: int = 0) -> str:
    """The good declaration without one line."""
    lines = GOOD.splitlines()
    found = [index for index, line in enumerate(lines) if line.startswith(f"{key} =")]
    del lines[found[occurrence]]
    return "\n".join(lines)


def with_value(key: str, value: str, occurrence: int = 0) -> str:
    """The good declaration with another value of a key."""
    lines = GOOD.splitlines()
    found = [index for index, line in enumerate(lines) if line.startswith(f"{key} =")]
    lines[found[occurrence]] = f"{key} = {value}"
    return "\n".join(lines)


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        parse(text, PATH)
    assert raised.value.message.startswith(str(PATH)), "the file is named"
    return raised.value


ALL_KEYS = sorted({line.partition(" =")[0] for line in GOOD.splitlines() if " = " in line})


@pytest.mark.parametrize("key", ALL_KEYS)
def test_a_value_of_another_type_is_refused_by_its_key(key: str) -> None:
    for value in ("true", "{ a = 1 }", "[1]", "1979-05-27"):
        assert re.search(rf"\b{key}\b", refusal(with_value(key, value)).message), value


@pytest.mark.parametrize("key", [key for key in ALL_KEYS if key not in {"renew-at", "proof-timeout"}])
def test_a_number_is_no_text(key: str) -> None:
    assert re.search(rf"\b{key}\b", refusal(with_value(key, "3")).message)


@pytest.mark.parametrize("key", [key for key in ALL_KEYS if key not in {"sans", "reload"}])
def test_a_text_with_a_line_break_is_refused(key: str) -> None:
    assert re.search(rf"\b{key}\b", refusal(with_value(key, '"a\\nb"')).message)


@pytest.mark.parametrize("key", ALL_KEYS)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(key: str) -> None:
    misspelt = re.sub(rf"^{key} =", f"{key}x =", GOOD, count=1, flags=re.MULTILINE)
    error = refusal(misspelt)
    assert f"{key}x" in error.message
    assert f"did you mean {key!r}" in (error.hint or "")


@pytest.mark.parametrize("table", ["agent", "nginx", "identity", "location"])
def test_a_misspelt_table_is_refused_with_the_one_that_was_meant(table: str) -> None:
    text = GOOD.replace(f"[{table}]", f"[{table}s]").replace("[identity.ca]", "[identitys.ca]" * (table == "identity"))
    error = refusal(text if table != "identity" else f"{GOOD}\n[[identitys]]\n")
    assert f"{table}s" in error.message
    assert f"did you mean {table!r}" in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_value("log", '"xml"'), "log [agent] is 'xml', expected text or json"),
        (with_value("renew-at", "0.99"), "renew-at [agent] is 0.99, expected a number from 0.1 to 0.95"),
        (with_value("renew-at", "nan"), "renew-at [agent] is nan"),
        (with_value("proof-timeout", "0"), "proof-timeout [agent] is 0"),
        (with_value("proof-timeout", "inf"), "proof-timeout [agent] is inf"),
        (with_value("name", '"a/b"'), "identity name 'a/b' is not usable"),
        (with_value("name", '".."'), "identity name '..' is not usable"),
        (with_value("name", '""'), "name of an [[identity]] must be a text"),
        (without("name"), "name of an [[identity]] must be a text, it is missing"),
        (without("dir"), "dir of identity 'app' is missing"),
        (with_value("dir", '""'), "dir of identity 'app' is missing"),
        (with_value("kty", '"DSA"'), "kty of identity 'app' is 'DSA', expected EC or RSA or OKP"),
        (with_value("mode", '"0644"'), "mode of identity 'app' is '0644', expected an octal"),
        (with_value("mode", '"rw"'), "mode of identity 'app' is 'rw'"),
        (with_value("mode", '"²"'), "mode of identity 'app' is '²'"),
        (with_value("url", '"http://ca.test"'), "url of ca of identity 'app' is 'http://ca.test', expected https://"),
        (with_value("url", '"https://"'), "url of ca of identity 'app' is 'https://', expected https://"),
        (with_value("url", '"https://ca.test:99999"'), "url of ca of identity 'app' is 'https://ca.test:99999'"),
        (without("url"), "url of ca of identity 'app' must be a text, it is missing"),
        (
            with_value("fingerprint", '"abc"'),
            "fingerprint of ca of identity 'app' is not usable: invalid",
        ),
        (with_value("not-after", '"tomorrow"'), "not-after of ca of identity 'app' is not usable: invalid time"),
        (without("certificate"), "certificate of identity 'theirs' is missing"),
        (without("key"), "key of identity 'theirs' is missing"),
        (without("trust"), "trust of identity 'theirs' is missing"),
        (GOOD.replace('key = "theirs.key"', 'key = "theirs.key"\ndir = "x"'), "dir of identity 'theirs' belongs to"),
        (GOOD.replace('key = "theirs.key"', 'key = "theirs.key"\nkty = "EC"'), "kty of identity 'theirs' belongs to"),
        (with_value("state", '"~no-such-user/x"'), "state [agent] is '~no-such-user/x', there is no such user"),
        (GOOD.replace('dir = "mtls/app"', 'dir = "mtls/app"\nkey = "x"'), "identity 'app' has both ca and key"),
        (GOOD.replace('"theirs"\ncert', '"app"\ncert'), "two identities are named 'app'"),
        (without("path"), "path of a [[location]] must be a text, it is missing"),
        (without("identity"), "identity of location '/api' must be a text, it is missing"),
        (with_value("identity", '"nobody"'), "there is no identity 'nobody'; there are: app, theirs"),
        (with_value("upstream", '"http://api.test"'), "upstream of location '/api' is 'http://api.test', expected"),
        (with_value("mode", '"fast"', 1), "mode of location '/api' is 'fast', expected static"),
        (with_value("report", '"whoami"'), "report of location '/api' is 'whoami', expected http://"),
        (with_value("report", '"http://h:x/"'), "report of location '/api' is 'http://h:x/', expected http://"),
        (f'{GOOD}\n[[location]]\nserver = "app.test"\npath = "/api"\nidentity = "app"', "declared twice"),
        (f'{GOOD}\n[[stream]]\nidentity = "app"', "listen of a [[stream]] must be a text, it is missing"),
        (f'{GOOD}\n[[stream]]\nlisten = "1"\nidentity = "nobody"', "there is no identity 'nobody'"),
        (f'{GOOD}{STREAM}upstream = "tls://a:1"', "upstream of stream '1' is 'tls://a:1', expected host:port, without"),
        (f'{GOOD}{STREAM}path = "/"', "unknown key 'path' of stream '1'"),
        (f"{GOOD}{STREAM}{STREAM}", "stream '1' is declared twice"),
        (f'{GOOD}\n[[client-auth]]\ntrust = "a"', "server of a [[client-auth]] must be a text, it is missing"),
        (
            f'{GOOD}\n[[client-auth]]\nserver = "a"',
            "trust of client-auth 'a' is missing: expected the file of its clients'",
        ),
        (f'{GOOD}{ASKED}mode = "off"', "mode of client-auth 'a' is 'off', expected on or optional"),
        (f"{GOOD}{ASKED}depth = 1.5", "depth of client-auth 'a' is 1.5, expected a whole number"),
        (f"{GOOD}{ASKED}depth = 11", "depth of client-auth 'a' is 11, expected a number from 0 to 10"),
        (f'{GOOD}{ASKED}headers = "X"', "headers of client-auth 'a' must be a table"),
        (
            f'{GOOD}{ASKED}headers = {{ X_A = "verify" }}',
            "header 'X_A' of client-auth 'a' is not usable: expected letters",
        ),
        (
            f'{GOOD}{ASKED}headers = {{ X-A = "name" }}',
            "header X-A of client-auth 'a' is 'name', expected one of verify,",
        ),
        (f"{GOOD}{ASKED}headers = {{ X-A = [] }}", "header X-A of client-auth 'a' is [], expected one of"),
        (
            f'{GOOD}{ASKED}headers = {{ X-A = "cert", x-a = "cert" }}',
            "headers of client-auth 'a' name one header twice",
        ),
        (f"{GOOD}{ASKED}{ASKED}", "client-auth of server 'a' is declared twice"),
        ('agent = "x"', "agent must be a table: [agent]"),
        ('nginx = ["x"]', "nginx must be a table: [nginx]"),
        ('identity = "x"', "identity"),
        ("[identity]\nname = 'a'", "identity"),
        ("location = [1]", "location"),
        (f"a = {'[' * 20000}", "is nested too deeply to be read"),
        ('[[location]]\npath = "/"\nidentity = "app"\nname = "$http_x"', "name '$http_x' is not usable"),
        ('[[stream]]\nlisten = "5432"\nidentity = "app"\nname = "a;b"', "name 'a;b' is not usable"),
        ("[[identity]\n", "is not valid TOML"),
        ('[agent]\nlog = "text"\nlog = "json"', "is not valid TOML"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, why: str) -> None:
    assert why in refusal(text).message


def test_two_identities_kept_in_one_directory_are_refused_however_it_is_spelt() -> None:
    two = '[[identity]]\nname = "{}"\ndir = "{}"\nca = "https://ca.test"\n'
    assert "two identities are kept in" in refusal(two.format("a", "x/y") + two.format("b", "x/../x/y")).message


def test_a_missing_file_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"troth\.toml does not exist"):
        load(tmp_path / "troth.toml")


def test_relative_names_are_below_the_directory_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "troth.toml").write_text('[agent]\nstate = "s"\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("troth.toml")).state == tmp_path / "s"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "troth.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(tmp_path / "troth.toml")


@given(st.text(max_size=200) | st.sampled_from(GOOD.splitlines()).flatmap(lambda line: st.just(GOOD.replace(line, ""))))
def test_any_text_is_read_or_refused_with_an_error_of_ours(text: str) -> None:
    try:
        parse(text, PATH)
    except TrothError as error:
        assert str(PATH) in error.message
