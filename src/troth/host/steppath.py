"""Where step keeps its files: ``STEPPATH``, contexts, and the names below them."""

import os
from dataclasses import dataclass
from pathlib import Path

from troth.host.contexts import Context, read_contexts

ENVIRONMENT = "STEP_CONTEXT"


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


def context_in_use(name: str = "") -> Context | None:
    """The context of a name, of ``$STEP_CONTEXT``, the current one, or the only one; None where there are none.

    Raises:
        HostError: there is no such context, or the files that list them are not what they should be.
    """
    return read_contexts(step_base()).chosen(name or os.environ.get(ENVIRONMENT, ""))


def authority_base(context: str = "") -> Path:
    """The directory of the authority in use: of a context's, or without contexts the step path itself.

    Raises:
        HostError: as of `context_in_use`.
    """
    chosen = context_in_use(context)
    return step_base() if chosen is None else chosen.authority_path(step_base())


def served_base(context: str = "") -> Path:
    """As step-ca finds what to serve: the context of a name, else the current one, else the step path itself.

    Raises:
        HostError: there is no such context, or the files that list them are not what they should be.
    """
    contexts = read_contexts(step_base())
    name = context or contexts.current
    return contexts.named(name).authority_path(step_base()) if name else step_base()


def profile_base(context: str = "") -> Path:
    """As `authority_base`, of the profile.

    Raises:
        HostError: as of `context_in_use`.
    """
    chosen = context_in_use(context)
    return step_base() if chosen is None else chosen.profile_path(step_base())
