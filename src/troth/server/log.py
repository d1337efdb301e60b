"""One line on stderr for each refusal, change and event; text or JSON. Tokens and passwords are never given to it."""

import json
import sys
from dataclasses import dataclass

from troth.host import clock


@dataclass(frozen=True, slots=True)
class Log:
    """``format`` is ``text`` or ``json``, as in ``ca.json``'s logger."""

    format: str = "text"
    quiet: bool = False

    def event(self, message: str, **fields: object) -> None:
        """Something happened that an operator looks for."""
        if not self.quiet:
            self._write("info", message, fields)

    def refusal(self, message: str, **fields: object) -> None:
        """A request was refused, and why."""
        self._write("warning", message, fields)

    def failure(self, message: str, **fields: object) -> None:
        """The authority itself failed."""
        self._write("error", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, object]) -> None:
        moment = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self.format == "json":
            line = json.dumps({"time": moment, "level": level, "msg": message, **fields}, default=str)
        else:
            rest = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
            line = f'time="{moment}" level={level} msg={_quoted(message)} {rest}'.rstrip()
        print(line, file=sys.stderr, flush=True)


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else json.dumps(text)
