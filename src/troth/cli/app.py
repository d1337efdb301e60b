"""The entry point: help without imports, one place where errors become lines and exit codes.

Errors are two lines on stderr, ``error: ...`` and ``hint: ...``. Exit codes: 0 fine, 1 refused or failed (usage
errors too, as step's), 3 unknown command, 130 interrupted; some commands document others. Imported modules are
counted: help must not load click, let alone cryptography.
"""

import os
import sys

from troth.cli import help as help_texts
from troth.errors import TrothError

INTERRUPTED = 130
COMPLETING = "_TROTH_COMPLETE"


def main() -> None:
    """Run the command in ``sys.argv`` and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the result is its exit code."""
    try:
        arguments = help_texts.step_spelling(arguments)
        text = None if COMPLETING in os.environ else help_texts.find(arguments)
        if text is not None:
            print(text, end="")
            sys.stdout.flush()
            return 0
        return _dispatch(arguments)
    except TrothError as error:
        return _report(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted", None, INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone; stdout must not be flushed into it once more while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        return _report_system(error)
    except Exception as error:
        return _internal(error)


def _dispatch(arguments: list[str]) -> int:
    import warnings

    import click

    from troth.cli.group import load_root

    if os.environ.get("STEPDEBUG") != "1":
        # Warnings of libraries are for us, not for the person at the terminal, and stderr has one voice.
        warnings.simplefilter("ignore")

    try:
        outcome = load_root().main(args=arguments, prog_name="troth", standalone_mode=False, complete_var=COMPLETING)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        context = error.ctx
        hint = _whence(error) or (f"run: {context.command_path} --help" if context is not None else None)
        code = getattr(context.command, "usage_exit_code", 1) if context is not None else 1
        return _report(_sentence(error.format_message()), hint, code)
    except click.Abort:
        return _report("interrupted", None, INTERRUPTED)
    except click.ClickException as error:
        return _report(_sentence(error.format_message()), None, 1)


def _whence(error: object) -> str | None:
    """A value that nobody typed: which places to look at. The error is click's, which is not loaded here."""
    from click.core import ParameterSource

    option, context = getattr(error, "param", None), getattr(error, "ctx", None)
    if option is None or context is None or context.get_parameter_source(option.name) != ParameterSource.DEFAULT_MAP:
        return None
    flag = max(option.opts, key=len)
    variable = "STEP_" + flag.lstrip("-").upper().replace("-", "_")
    return f"it comes from {variable} or config/defaults.json: correct it there, or give {flag}"


def _sentence(text: str) -> str:
    text = text.rstrip().removesuffix(".")
    return text[:1].lower() + text[1:]


def _report(message: str, hint: str | None, code: int) -> int:
    if os.environ.get("STEPDEBUG") == "1" and sys.exc_info()[0] is not None:
        import traceback

        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return code


def _report_system(error: OSError) -> int:
    """What the system refused where no room had expected it: most often a file of another user's."""
    if error.filename is None or not error.strerror:
        return _internal(error)
    hint = "run it as the owner of the file, or as root" if isinstance(error, PermissionError) else None
    return _report(f"cannot use {os.fsdecode(error.filename)}: {error.strerror.lower()}", hint, 1)


def _internal(error: Exception) -> int:
    return _report(f"internal error ({type(error).__name__})", "run it again with STEPDEBUG=1 for the details", 1)
