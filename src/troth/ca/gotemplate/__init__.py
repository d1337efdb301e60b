"""Go's ``text/template``, the subset that step's certificate templates use, with step's functions.

Text in, text out; the moment that ``now`` means is an argument. What a template may call is a closed list: a function
that is not on it is refused when the template is parsed, with its name and line, never when a certificate is issued.
Reference: the Go package's documentation, and sprig's for the functions; `tests/ca/gotemplate` holds both to what Go
itself printed.
"""

from troth.ca import CAError


class TemplateError(CAError):
    """A template cannot be used; the message has the form of Go's, with template name and line."""


class TemplateSyntaxError(TemplateError):
    """The text is not a template, or calls a function that is not supported."""


class ExecutionError(TemplateError):
    """A template that parsed did not come to an end on this data."""


class RefusedByTemplateError(TemplateError):
    """The template itself refused, through ``fail "reason"``; the message is the reason alone."""
