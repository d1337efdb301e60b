"""What ``troth ca init`` does step by step: ask, create, write."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from troth.ca import init, jwk
from troth.errors import UsageError
from troth.host import clock, terminal
from troth.host.files import make_directory, read_file, write_file
from troth.host.steppath import StepPath, step_base
from troth.x509.keys import PrivateKey, fingerprint, generate_key, key_matches, parse_private_key, private_key_to_pem
from troth.x509.pem import parse_certificates, to_pem

GENERATED_PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True)
class Created:
    """A hierarchy; the root key is None when the root is the user's own."""

    root: x509.Certificate
    root_key: PrivateKey | None
    intermediate: x509.Certificate
    intermediate_key: PrivateKey


def step_directory(base: Path, *, force: bool) -> StepPath:
    """The files of a new authority below a directory, refused when it already holds one.

    Raises:
        UsageError: there is one and `force` is not set.
    """
    step = StepPath(base.absolute())
    existing = [p for p in (step.ca_config, step.intermediate_key, step.root_key) if p.exists()]
    if existing and not force:
        raise UsageError(
            f"there is an authority already: {existing[0]} exists",
            hint="choose another directory: STEPPATH=/path/to/new troth ca init, or replace it with --force",
        )
    return step


def check_deployment(kind: str) -> None:
    """Raises: UsageError: a deployment other than standalone."""
    if kind != "standalone":
        raise UsageError(f"deployment type {kind!r} is not supported: expected standalone")


def ask_names(name: str, dns: tuple[str, ...], address: str, provisioner: str, *, pki: bool) -> init.Names:
    """The names given, and questions for the others.

    Raises:
        TerminalError: something is missing and there is nobody to ask.
        UsageError: the address cannot be listened on.
    """
    hosts = tuple(part.strip() for text in dns for part in text.split(",") if part.strip())
    chosen = name or terminal.ask("What shall the authority be called", "troth", otherwise="give --name")
    if pki:
        return init.Names(chosen, hosts or ("localhost",), address or ":9000", provisioner)
    if not hosts:
        answer = terminal.ask(
            "Which DNS names or IPs will clients use, with commas", "localhost", otherwise="give --dns"
        )
        hosts = tuple(part.strip() for part in answer.split(",") if part.strip())
    wrong = _address_problem(address) if address else ""
    if wrong:
        raise UsageError(wrong)
    where = address or terminal.ask(
        "Which address shall it listen on", ":9000", otherwise="give --address", problem=_address_problem
    )
    who = provisioner or terminal.ask(
        "What shall the first provisioner be called", "admin", otherwise="give --provisioner"
    )
    return init.Names(chosen, hosts, where, who)


def _address_problem(address: str) -> str:
    port = address.rpartition(":")[2]
    usable = ":" in address and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    return "" if usable else f"address {address!r} is not usable: expected [host]:port such as :9000"


def read_password(path: str) -> bytes:
    """The text of a password file without trailing white space; empty when no file is named.

    Raises:
        UsageError: the file is empty.
    """
    if not path:
        return b""
    password = read_file(Path(path), limit=64 * 1024).rstrip()
    if not password:
        raise UsageError(f"password file {path} is empty")
    return password


def ask_password(path: str) -> bytes:
    """The password for the keys: from a file, typed twice, or made and shown once when the answer is empty.

    Raises:
        TerminalError: no file is named and there is nobody to ask.
        UsageError: the file is empty.
    """
    if path:
        return read_password(path)
    hint = "give --password-file"
    question = "Password for the keys [empty: one is made and shown]"
    password = terminal.ask_new_password(question, otherwise=hint, optional=True)
    if not password:
        made = secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)
        terminal.announce("Password", made)
        return made.encode()
    return password


def create(names: init.Names, root_file: str, key_file: str, key_password_file: str) -> Created:
    """A new hierarchy, or a new intermediate under the user's own root.

    Raises:
        UsageError: only one of root and key is given, or they do not belong together.
    """
    now = clock.now()
    intermediate_key = generate_key()
    if bool(root_file) != bool(key_file):
        raise UsageError("flags --root and --key belong together: expected both or neither")
    if root_file:
        root = parse_certificates(read_file(Path(root_file)), root_file)[0]
        password = read_password(key_password_file) or None
        root_key = parse_private_key(read_file(Path(key_file)), password, key_file)
        if not key_matches(root, root_key):
            raise UsageError(f"key {key_file} does not belong to certificate {root_file}")
        kept = None
    else:
        root_key = generate_key()
        root = init.create_root(names.name, root_key, new_serial(), now)
        kept = root_key
    intermediate = init.create_intermediate(names.name, intermediate_key, root, root_key, new_serial(), now)
    return Created(root, kept, intermediate, intermediate_key)


def new_serial() -> int:
    """127 random bits, never nothing (RFC 5280 §4.1.2.2)."""
    return secrets.randbits(127) | 1


def write_hierarchy(step: StepPath, created: Created, password: bytes) -> None:
    """Certificates and encrypted keys, all 0600, the directories 0700.

    Raises:
        FileError: a file cannot be written.
    """
    for directory in (step_base(), step.base, step.certs, step.secrets, step.config):
        make_directory(directory)
    if created.root_key is not None:
        write_file(step.root_key, private_key_to_pem(created.root_key, password))
    write_file(step.intermediate_key, private_key_to_pem(created.intermediate_key, password))
    write_file(step.root_certificate, to_pem(created.root).encode())
    write_file(step.intermediate_certificate, to_pem(created.intermediate).encode())


def write_configuration(
    step: StepPath, created: Created, names: init.Names, password: bytes, url: str, *, acme: bool, db: bool
) -> None:
    """``ca.json`` and ``defaults.json``.

    Raises:
        FileError: a file cannot be written.
    """
    key = generate_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    randomness = jwk.Randomness(secrets.token_bytes(16), secrets.token_bytes(32), secrets.token_bytes(12))
    provisioners = [init.create_provisioner(names.provisioner, key, password, randomness)]
    if acme:
        provisioners.append({"type": "ACME", "name": "acme"})
    paths = {
        "root": str(step.root_certificate),
        "crt": str(step.intermediate_certificate),
        "key": str(step.intermediate_key),
        "db": str(step.base / "db"),
    }
    for directory in (step.base / "db", step.base / "templates"):
        make_directory(directory)
    write_file(step.ca_config, init.configuration(names, paths, provisioners, db).encode(), 0o600)
    text = init.defaults(names, str(step.ca_config), str(step.root_certificate), created.root)
    if url:
        text = text.replace(f'"{names.url}"', f'"{url}"')
    write_file(step.defaults, text.encode(), 0o644)


def announce(step: StepPath, created: Created) -> None:
    """Say where everything is and what to type next."""
    terminal.announce("Root certificate", str(step.root_certificate))
    if created.root_key is not None:
        terminal.announce("Root private key", str(step.root_key))
    terminal.announce("Root fingerprint", fingerprint(created.root))
    terminal.announce("Intermediate certificate", str(step.intermediate_certificate))
    terminal.announce("Intermediate private key", str(step.intermediate_key))
    if step.ca_config.exists():
        terminal.announce("Authority configuration", str(step.ca_config))
        terminal.announce("Default configuration", str(step.defaults))
        terminal.note(f"\nNow start it:  troth ca serve {step.ca_config}")
