"""Where step keeps its files: ``STEPPATH``, contexts, and the names below them."""

import os
from dataclasses import dataclass
from pathlib import Path


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
