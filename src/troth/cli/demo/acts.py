"""The acts of the demo: each does one thing with the real programs and returns the rows it saw."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.agent import measured as turning
from troth.agent.agent import Agent
from troth.agent.config import load
from troth.agent.issuer import AuthorityIssuer
from troth.agent.log import Log
from troth.agent.proxy import proxy_for
from troth.agent.state import only_agent
from troth.cli.demo import configs
from troth.cli.demo.configs import Site, Trial
from troth.cli.demo.forgery import Pair, foreign_authority, forge, real_intermediate
from troth.cli.demo.probes import LogTail, Reply, get, proxy_reason, upstream_reason
from troth.cli.demo.rows import Row, Section
from troth.cli.demo.stage import PROXY_NAME, UPSTREAM_NAME, DemoError, Stage, attempt, show, troth
from troth.host import clock
from troth.host.files import read_file, write_file
from troth.host.load import Target
from troth.host.nginx import Nginx
from troth.host.steppath import StepPath
from troth.x509.keys import fingerprint
from troth.x509.pem import parse_certificates

Say = Callable[[str], None]
PROVISIONER = "admin"


def found(stage: Stage) -> None:
    """The authority's files, by ``troth ca init``."""
    password = str(stage.password_file)
    names = ("--name", "Demo", "--dns", "localhost", "--address", f"127.0.0.1:{stage.ca_port}")
    who = ("--provisioner", PROVISIONER, "--password-file", password, "--provisioner-password-file", password)
    troth(stage, "ca", "init", *names, *who, steppath=stage.authority)


def _root(stage: Stage) -> Path:
    return StepPath(stage.authority).root_certificate


def _fingerprint(stage: Stage) -> str:
    return fingerprint(parse_certificates(read_file(_root(stage)))[0])


def upstream_files(stage: Stage) -> dict[str, Pair]:
    """The upstream's certificate from the authority, and wrong ones from elsewhere."""
    steps = stage.base / "upstream-step"
    troth(stage, "ca", "bootstrap", "--ca-url", stage.ca_url, "--fingerprint", _fingerprint(stage), steppath=steps)
    names = ("--san", UPSTREAM_NAME, "--san", "localhost")
    troth(stage, "ca", "certificate", UPSTREAM_NAME, "up.crt", "up.key", *names, steppath=steps, cwd=stage.upstream)
    now = clock.now()
    where = StepPath(stage.authority)
    password = read_file(stage.password_file).strip()
    ours = real_intermediate(where.intermediate_certificate, where.intermediate_key, password)
    foreign = foreign_authority(now)
    directory, name, both = stage.upstream, (UPSTREAM_NAME,), (UPSTREAM_NAME, "localhost")
    client_only = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    return {
        "good": Pair(stage.upstream / "up.crt", stage.upstream / "up.key"),
        "foreign": forge(directory, "foreign", foreign, now, subject=UPSTREAM_NAME, names=both),
        "wrong-name": forge(
            directory, "wrong-name", ours, now, subject="other.internal.net", names=("other.internal.net",)
        ),
        "expired": forge(directory, "expired", ours, now, subject=UPSTREAM_NAME, names=name, ended=True),
        "client-only": forge(
            directory, "client-only", ours, now, subject=UPSTREAM_NAME, names=name, purposes=client_only
        ),
    }


def upstream_nginx(stage: Stage, program: Path, pairs: dict[str, Pair]) -> Nginx:
    """The upstream's nginx, a site for each certificate."""
    sites = {name: Site(stage.upstream_ports[name], pair.certificate, pair.key) for name, pair in pairs.items()}
    conf = stage.upstream / "nginx.conf"
    write_file(conf, configs.upstream(stage.upstream, _root(stage), sites).encode(), 0o644)
    return Nginx(program, conf, stage.upstream)


def guide(stage: Stage, program: Path, say: Say) -> Nginx:
    """Steps 1 to 5: three commands, and the guide's configuration as it stands."""
    steps = (
        ("ca", "bootstrap", "--ca-url", stage.ca_url, "--fingerprint", _fingerprint(stage)),
        ("ca", "certificate", "myuser", "client.crt", "client.key"),
        ("ca", "root", "ca.crt"),
    )
    for number, arguments in enumerate(steps, 1):
        troth(stage, *arguments)
        say(f"  {number}  {show(arguments)}")
    conf = stage.proxy / "nginx.conf"
    text = configs.guide_proxy(stage.proxy, stage.proxy_port, stage.upstream_ports["good"])
    write_file(conf, text.encode(), 0o644)
    write_file(conf.with_name("nginx.conf.guide"), text.encode(), 0o644)
    say(f"  4  location /upstream {{ proxy_pass https://localhost:{stage.upstream_ports['good']}; ... }}")
    say("  5  proxy_ssl_trusted_certificate ca.crt; proxy_ssl_verify on; proxy_ssl_verify_depth 2;")
    return Nginx(program, conf, stage.proxy)


def as_it_stands(stage: Stage) -> Section:
    """The guide's own configuration, before anything is hardened."""
    wanted = _serial_of(stage.proxy / "client.crt")
    return Section("The guide's configuration as it stands", (_seen_row("accepted", stage, wanted),))


def _serial_of(path: Path) -> int:
    return parse_certificates(read_file(path), str(path))[0].serial_number


def _seen_row(title: str, stage: Stage, wanted: int) -> Row:
    reply = get(stage.proxy_port, "/upstream", PROXY_NAME)
    seen = reply.seen
    serial = int(seen.get("serial") or "0", 16)
    observed = f"{reply.status}, the upstream saw serial {serial:x}, {seen.get('subject', 'nobody')}"
    good = reply.status == 200 and serial == wanted and seen.get("subject") == "CN=myuser"
    return Row(title, f"200 and serial {wanted:x}, CN=myuser", observed, good)


DECLARATION = """\
[nginx]
binary = "{program}"
conf = "{proxy}/nginx.conf"
prefix = "{proxy}"

[[identity]]
name = "myuser"
subject = "myuser"
dir = "{proxy}/mtls/myuser"
ca = {{ url = "{url}", fingerprint = "{fingerprint}", password-file = "{password}" }}

[[location]]
server = "proxy.internal.net"
path = "/upstream"
identity = "myuser"
name = "myserver.internal.net"
"""


def declare(stage: Stage, program: Path) -> None:
    """troth.toml for the proxy."""
    text = DECLARATION.format(
        program=program,
        proxy=stage.proxy,
        url=stage.ca_url,
        fingerprint=_fingerprint(stage),
        password=stage.password_file,
    )
    write_file(stage.declaration, text.encode(), 0o600)


def harden(stage: Stage, program: Path, say: Say) -> None:
    """Step 6: the agent takes the identity over, and the location is upgraded in place."""
    declare(stage, program)
    flags = ("--config", str(stage.declaration))
    for arguments in (("agent", "run", *flags, "--once"), ("nginx", "apply", *flags, "--yes")):
        troth(stage, *arguments)
        say(f"  6  {show(arguments)}")


def accepted(stage: Stage) -> Section:
    """Hardened: the identity of the agent is on the wire, and prove agrees."""
    wanted = _serial_of(stage.proxy / "mtls" / "myuser" / "current" / "client.crt")
    done = attempt(stage, "nginx", "prove", "--config", str(stage.declaration), "--json")
    try:
        rows = [row for one in json.loads(done.stdout)["locations"] for row in one["rows"]]
    except (ValueError, KeyError) as error:
        raise DemoError(f"troth nginx prove printed no proof: {done.stderr.strip()[-300:]}") from error
    held = sum(bool(row["ok"]) for row in rows)
    proven = Row(
        "troth nginx prove",
        "every row holds",
        f"exit {done.returncode}, {held} of {len(rows)} rows hold",
        done.returncode == 0,
    )
    return Section(
        "Accepted, with the identity the agent keeps", (_seen_row("the right certificate", stage, wanted), proven)
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A trial and what it is called."""

    name: str
    title: str


CLIENTS = (
    Case("none", "no certificate"),
    Case("expired", "an expired certificate of our CA"),
    Case("foreign", "a certificate of a foreign CA"),
    Case("server-only", "a certificate of our CA for servers only"),
)
UPSTREAMS = (
    Case("to-foreign", "upstream with a certificate of a foreign CA"),
    Case("to-wrong-name", "upstream with a certificate for another name"),
    Case("to-expired", "upstream with an expired certificate"),
    Case("to-client-only", "upstream with a certificate for clients only"),
)


def trials_nginx(stage: Stage, program: Path, wrong: dict[str, Pair]) -> Nginx:
    """A second proxy: the hardened directives with one thing wrong at a time."""
    now = clock.now()
    where = StepPath(stage.authority)
    ours = real_intermediate(
        where.intermediate_certificate, where.intermediate_key, read_file(stage.password_file).strip()
    )
    server_only = (ExtendedKeyUsageOID.SERVER_AUTH,)
    pairs = {
        "expired": forge(stage.trials, "expired", ours, now, subject="myuser", names=("myuser",), ended=True),
        "foreign": forge(stage.trials, "foreign", foreign_authority(now), now, subject="myuser", names=("myuser",)),
        "server-only": forge(
            stage.trials, "server-only", ours, now, subject="myuser", names=("myuser",), purposes=server_only
        ),
    }
    good = Pair(stage.proxy / "client.crt", stage.proxy / "client.key")
    ports = stage.upstream_ports
    wanted = [Trial("none", ports["good"], None, None)]
    wanted += [Trial(name, ports["good"], pair.certificate, pair.key) for name, pair in pairs.items()]
    wanted += [Trial(f"to-{name}", ports[name], good.certificate, good.key) for name in wrong if name != "good"]
    conf = stage.trials / "nginx.conf"
    write_file(conf, configs.trials(stage.trials, stage.trial_port, _root(stage), wanted).encode(), 0o644)
    return Nginx(program, conf, stage.trials)


def refused_clients(stage: Stage) -> Section:
    """What the upstream does with identities it must not accept; nginx passes its 400 on, and logs nothing itself."""
    rows = []
    for case in CLIENTS:
        log = LogTail(stage.upstream / "error.log")
        reply = get(stage.trial_port, f"/{case.name}")
        reason = upstream_reason(log.news())
        good = reply.status == 400 and bool(reason) and not reply.seen
        rows.append(
            Row(
                case.title,
                "400 from the upstream, and its reason",
                f"{reply.status}, upstream: {reason or 'silent'}",
                good,
            )
        )
    return Section("Refused by the upstream", tuple(rows))


def refused_upstreams(stage: Stage) -> Section:
    """What nginx does with upstreams it must not talk to."""
    rows = []
    for case in UPSTREAMS:
        log = LogTail(stage.trials / "error.log")
        reply = get(stage.trial_port, f"/{case.name}")
        reason = proxy_reason(log.news())
        good = reply.status == 502 and "upstream SSL certificate" in reason
        rows.append(
            Row(case.title, "502 from nginx, and its reason", f"{reply.status}, nginx: {reason or 'silent'}", good)
        )
    return Section("Refused by nginx", tuple(rows))


def authority_refuses(stage: Stage) -> Section:
    """What the authority will not do, and what revocation means: no renewal, while the upstream goes on accepting."""
    past = attempt(stage, "ca", "certificate", "myuser", "past.crt", "past.key", "--not-after", "2020-01-01T00:00:00Z")
    long = attempt(stage, "ca", "certificate", "myuser", "long.crt", "long.key", "--not-after", "8760h")
    troth(stage, "ca", "certificate", "leaver", "leaver.crt", "leaver.key")
    troth(stage, "ca", "revoke", "--cert", "leaver.crt", "--key", "leaver.key")
    renewal = attempt(stage, "ca", "renew", "leaver.crt", "leaver.key", "--force")
    reply = _as(stage, Pair(stage.proxy / "leaver.crt", stage.proxy / "leaver.key"))
    still = Row(
        "revoked: the upstream, which reads no revocations",
        "still accepted until it expires: short lives are what ends it",
        f"{reply.status}, saw {reply.seen.get('subject', 'nobody')}",
        reply.status == 200 and reply.seen.get("subject") == "CN=leaver",
    )
    return Section(
        "The authority",
        (
            _refusal("asked for an expired certificate", past),
            _refusal("asked for a year", long),
            _refusal("revoked: renewal", renewal),
            still,
        ),
    )


def _refusal(title: str, done: "CompletedProcess[str]") -> Row:
    code, text = done.returncode, done.stderr.strip()
    message = next((line for line in text.splitlines() if line.startswith("error: ")), "").removeprefix("error: ")
    return Row(title, "refused", f"refused: {message}" if code == 1 else f"exit {code}", code == 1 and bool(message))


def _as(stage: Stage, pair: Pair) -> Reply:
    """One request to the upstream itself under a pair."""
    import http.client
    import ssl

    context = ssl.create_default_context(cafile=str(_root(stage)))
    context.load_cert_chain(pair.certificate, pair.key)
    connection = http.client.HTTPSConnection("localhost", stage.upstream_ports["good"], context=context, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return Reply(response.status, response.read(100_000))
    except OSError as error:
        return Reply(0, str(error).encode())
    finally:
        connection.close()


async def rotations(stage: Stage, nginx: Nginx, count: int, connections: int, requests: int) -> Section:
    """The agent's own rotation, again and again, while clients ask through the proxy."""
    config = load(stage.declaration)
    identity = config.identity("myuser")
    with only_agent(config.state):
        agent = Agent(config, AuthorityIssuer(), proxy_for(config), Log(quiet=True))
        await agent.start()
        proofs: dict[str, int] = {}

        async def rotate() -> str:
            result = (await agent.rotate_now(identity))[0]
            if not result.ok or result.facts is None:
                raise DemoError(f"a rotation failed: {result.error}")
            proofs[result.proof.kind] = proofs.get(result.proof.kind, 0) + 1
            return str(result.facts.serial)

        target = Target(stage.proxy_port, "/upstream", PROXY_NAME)
        measured = await turning.measure(
            rotate, target, _identify, rotations=count, connections=connections, requests=requests
        )
    return Section(
        f"{count} rotations under load",
        _rotation_rows(measured, proofs, nginx.capabilities().keepalive_min_timeout, requests),
    )


def _identify(body: bytes) -> str:
    return str(int(json.loads(body)["serial"], 16))


def _rotation_rows(
    measured: turning.Measured, proofs: dict[str, int], raceless: bool, requests: int
) -> tuple[Row, ...]:
    tally = measured.tally
    seen = ", ".join(f"{number} by {kind or 'nothing'}" for kind, number in proofs.items())
    why = "; ".join(f"{number} x {reason}" for reason, number in tally.failures.most_common(3))
    counts = f"{tally.requests} requests, {tally.failed} failed"
    lost = f"{counts}, {tally.races} lost to a closing connection" + (f" ({why})" if why else "")
    rows = [
        Row("proven on the wire", "every rotation, by the witness", seen, set(proofs) == {"witness"}),
        Row(
            "requests",
            f"at least {requests}",
            f"{tally.requests} in {measured.seconds:.1f} s",
            tally.requests >= requests,
        ),
    ]
    if raceless:
        rows.append(Row("requests lost", "0", lost, tally.lost == 0))
    else:
        title = "proxied failures (client races cannot be avoided before nginx 1.27.4)"
        rows.append(Row(title, "0", lost, tally.failed == 0))
    late = f"last seen {measured.latest_old:.1f} s after its rotation began (bound {measured.bound:.1f} s)"
    rows.append(
        Row("old serials", "gone within the bound", late, measured.latest_old <= measured.bound or not raceless)
    )
    return tuple(rows)
