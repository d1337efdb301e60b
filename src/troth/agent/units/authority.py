"""The unit of ``troth ca serve``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from troth.agent.units.sandbox import DENIED
from troth.agent.units.syntax import absolute, account, command, executable, line, protect_home, state_directory, word

CREDENTIAL = "ca-password"
PRIVILEGED_PORTS = 1024


@dataclass(frozen=True, slots=True)
class AuthorityUnit:
    """An authority as a service.

    `program` is troth; `base` the step path of the authority; `password` the file that systemd hands over as a
    credential; `port` where it listens, 0 when not known; `workers` its processes; `read` other files it needs.
    """

    program: Path
    base: Path
    user: str
    group: str
    password: Path
    port: int = 0
    workers: int = 1
    read: Sequence[Path] = ()

    def render(self) -> str:
        """The unit.

        Raises:
            UnitError: a path or name cannot be written into one.
        """
        program, base = executable(self.program, "program"), absolute(self.base, "step path")
        password = absolute(self.password, "password file")
        user, group = account(self.user, "user"), account(self.group, "group")
        config = base / "config" / "ca.json"
        serve = [str(program), "ca", "serve", str(config), "--password-file"]
        workers = f" --workers {self.workers}" if self.workers > 1 else ""
        return f"""\
# Written by troth; change it with: systemctl edit troth-ca
# The account, if there is none: useradd --system --home-dir {shlex.quote(str(base))} --shell /usr/sbin/nologin {user}
[Unit]
Description=troth certificate authority
Wants=network-online.target
After=network-online.target
ConditionFileNotEmpty={line(config)}
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={group}
Environment={word(f"STEPPATH={base}")}
{_state(base)}
# Read by systemd as root; the service sees a copy that nobody else can read.
LoadCredential={CREDENTIAL}:{line(password)}
ExecStart={command(serve)} %d/{CREDENTIAL}{workers}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
WatchdogSec=60
# A minute is given to what was accepted.
TimeoutStopSec=75
KillMode=mixed

{self._capabilities()}
{DENIED}SystemCallFilter=~@privileged @resources
ProtectHome={protect_home([program, base, *self.read])}
ProtectProc=invisible
ProcSubset=pid

[Install]
WantedBy=multi-user.target
"""

    def _capabilities(self) -> str:
        if self.port >= PRIVILEGED_PORTS:
            return "CapabilityBoundingSet=\nPrivateUsers=yes"
        return "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE"


def _state(base: Path) -> str:
    name = state_directory(base)
    return f"StateDirectory={name}\nStateDirectoryMode=0700" if name else f"ReadWritePaths={word(str(base))}"
