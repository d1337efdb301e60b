"""The unit of ``troth agent run``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from troth.agent.units.sandbox import DENIED
from troth.agent.units.syntax import absolute, command, executable, protect_home, state_directory, word

# What is left of root: files of others and their owners, and the low ports that nginx -t opens.
CAPABILITIES = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_NET_BIND_SERVICE"


@dataclass(frozen=True, slots=True)
class AgentUnit:
    """An agent as a service.

    `program` is troth; `config` the troth.toml; `state` and `identities` the directories it writes; `nginx` those that
    ``nginx -t`` must be able to write (logs, temporary files, the pid file's); `read` other files that it needs.
    """

    program: Path
    config: Path
    state: Path
    identities: Sequence[Path]
    nginx: Sequence[Path]
    read: Sequence[Path] = ()

    def render(self) -> str:
        """The unit.

        Raises:
            UnitError: a path cannot be written into one.
        """
        program, config = executable(self.program, "program"), absolute(self.config, "declaration")
        state = absolute(self.state, "state directory")
        kept = [absolute(path, "identity directory") for path in self.identities]
        nginx = [absolute(path, "directory of nginx") for path in self.nginx]
        made = [path for path in (state, *kept) if not state_directory(path)]
        needed = [program, config, state, *kept, *nginx, *self.read]
        lines = [_state(path) for path in (state, *kept) if state_directory(path)]
        if made:
            # A sandbox is made of directories that exist.
            lines.append(f"ExecStartPre=+{command(['/bin/mkdir', '-p', '-m', '0755', '--', *map(str, made)])}")
            lines.append(f"ReadWritePaths={' '.join(word(str(path)) for path in dict.fromkeys(made))}")
        if nginx:
            lines.append("# nginx -t opens what nginx writes: its logs, its temporary files, its pid file.")
            lines.append(f"ReadWritePaths={' '.join('-' + word(str(path)) for path in dict.fromkeys(nginx))}")
        run = command([str(program), "agent", "run", "--config", str(config)])
        return _UNIT.format(run=run, paths="\n".join(lines), home=protect_home(needed), denied=DENIED)


def _state(path: Path) -> str:
    return f"StateDirectory={state_directory(path)}"


_UNIT = (
    """\
# Written by troth; change it with: systemctl edit troth-agent
[Unit]
Description=troth agent: keeps the certificates that nginx shows renewed and proven
Wants=network-online.target
After=network-online.target nginx.service
# It is what renews: it is never given up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# root, because it signals nginx's master and tests with the keys nginx reads; what root may do is cut down below.
User=root
{paths}
ExecStart={run}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=10
WatchdogSec=60
# A rotation under way is finished, or put back, before it ends.
TimeoutStopSec=120
KillMode=mixed

CapabilityBoundingSet="""
    + CAPABILITIES
    + """
{denied}SystemCallFilter=~@privileged @resources
# Files keep their owners.
SystemCallFilter=@chown
ProtectHome={home}

[Install]
WantedBy=multi-user.target
"""
)
