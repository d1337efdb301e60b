"""Where step keeps its files: ``STEPPATH``, contexts, and the names below them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from troth.host import HostError
from troth.host.files import read_file


@dataclass(frozen=True, slots=True)
class StepPath:
    """The directory of one authority, laid out as step and step-ca do."""

    base: Path

    @property
    def certs(self) -> Path:
        return self.base / "certs"

    @property
    def secrets(self) -> Path:
        return self.base / "secrets"

    @property
    def config(self) -> Path:
        return self.base / "config"

    @property
    def root_certificate(self) -> Path:
        return self.certs / "root_ca.crt"

    @property
    def intermediate_certificate(self) -> Path:
        return self.certs / "intermediate_ca.crt"

    @property
    def root_key(self) -> Path:
        return self.secrets / "root_ca_key"

    @property
    def intermediate_key(self) -> Path:
        return self.secrets / "intermediate_ca_key"

    @property
    def ca_config(self) -> Path:
        return self.config / "ca.json"

    @property
    def defaults(self) -> Path:
        return self.config / "defaults.json"

    @property
    def own_config(self) -> Path:
        """Our settings; ``ca.json`` holds only what step knows, because its tools delete the rest."""
        return self.config / "troth.json"

    @property
    def database(self) -> Path:
        """Our database, beside step's own ``db`` directory."""
        return self.base / "troth.sqlite"


def step_base() -> Path:
    """``$STEPPATH``, or ``~/.step``."""
    given = os.environ.get("STEPPATH")
    return Path(given).expanduser() if given else Path.home() / ".step"


def authority_base(context: str = "") -> Path:
    """The directory of a context's authority, of the current context's, or without contexts the step path itself.

    Raises:
        HostError: there is no such context, or the files that list them are not what they should be.
    """
    base = step_base()
    contexts = _object(base / "contexts.json")
    name = context or str(_object(base / "current-context.json").get("context") or "")
    if not name:
        return base
    member = contexts.get(name)
    if not isinstance(member, dict) or not isinstance(member.get("authority"), str) or not member["authority"]:
        known = ", ".join(sorted(contexts)) or "none"
        raise HostError(f"context {name!r} not found in {base / 'contexts.json'}: there is {known}")
    return base / "authorities" / str(member["authority"])


def _object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no file."""
    if not path.exists():
        return {}
    try:
        data = json.loads(read_file(path))
    except ValueError as error:
        raise HostError(f"{path} is not JSON") from error
    if not isinstance(data, dict):
        raise HostError(f"{path}: expected a JSON object")
    return data
