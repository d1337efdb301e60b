"""The agent's log: a line on stderr for each thing it does or cannot do; text or JSON. Never a key or a token."""

import contextlib
import json
import sys
from dataclasses import dataclass

from troth.host import clock


@dataclass(frozen=True, slots=True)
class Log:
    """``format`` is ``text`` or ``json``."""

    format: str = "text"
    quiet: bool = False

    def info(self, message: str, **fields: object) -> None:
        self._write("info", message, fields)

    def error(self, message: str, **fields: object) -> None:
        self._write("error", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, object]) -> None:
        if self.quiet:
            return
        moment = clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        if self.format == "json":
            line = json.dumps({"time": moment, "level": level, "msg": message, **fields}, default=str)
        else:
            rest = "".join(f" {name}={json.dumps(str(value))}" for name, value in fields.items() if value != "")
            line = f"{moment} {level:<5} {message}{rest}"
        # A full disk or a reader that is gone must not end what keeps certificates alive.
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)
