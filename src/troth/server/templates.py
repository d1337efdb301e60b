"""The certificate templates of a configuration, read and parsed before anything is served."""

from collections.abc import Iterable
from pathlib import Path

from troth.ca.provisioners import Provisioner
from troth.ca.templates import CertificateTemplate, parse_certificate_template
from troth.host.files import read_file
from troth.server import ServerError


def load_templates(provisioners: Iterable[Provisioner], base: Path) -> dict[str, CertificateTemplate]:
    """By name of the provisioner; file names are relative to `base` (STEPPATH).

    Raises:
        TrothError: a template cannot be read, or calls what is not supported; the message has its name and line.
    """

    def read(name: str) -> str:
        try:
            return read_file(base / name).decode()
        except UnicodeDecodeError as error:
            raise ServerError(f"certificate template {base / name} is not UTF-8 text") from error

    found = {}
    for provisioner in provisioners:
        options = provisioner.raw.get("options")
        own = options.get("x509") if isinstance(options, dict) else None
        template = parse_certificate_template(own or {}, read, f"provisioner {provisioner.name}")
        if template is not None:
            found[provisioner.name] = template
    return found
