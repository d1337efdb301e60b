"""A parsed template, ready to be executed any number of times."""

from datetime import UTC, datetime
from typing import Any

from troth.ca.gotemplate.builtin import BUILTIN
from troth.ca.gotemplate.evaluator import execute
from troth.ca.gotemplate.nodes import Parsed
from troth.ca.gotemplate.parser import parse
from troth.ca.gotemplate.signatures import Functions
from troth.ca.gotemplate.sprig_data import DATA
from troth.ca.gotemplate.sprig_numbers import NUMBERS
from troth.ca.gotemplate.sprig_regex import REGEX
from troth.ca.gotemplate.sprig_text import TEXT
from troth.ca.gotemplate.step_functions import STEP, clock_functions

_FIXED: Functions = {**BUILTIN, **TEXT, **NUMBERS, **DATA, **REGEX, **STEP}
SUPPORTED = frozenset(_FIXED) | frozenset(clock_functions(datetime(1970, 1, 1, tzinfo=UTC)))


class Template:
    """Constructed by `parse_template` only."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed

    def execute(self, data: Any, now: datetime) -> str:
        """The text it makes of its data; `now` is what ``now`` means. The data may be changed (``set``).

        Raises:
            ExecutionError: it did not come to an end.
            RefusedByTemplateError: it called ``fail``.
        """
        return execute(self._parsed, data, {**_FIXED, **clock_functions(now)})


def parse_template(name: str, text: str) -> Template:
    """Parse a template; its name is for messages.

    Raises:
        TemplateSyntaxError: it is no template, or calls a function that is not in `SUPPORTED`.
    """
    return Template(parse(name, text, SUPPORTED))
