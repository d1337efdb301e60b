"""Renewing once, when due, or for ever: wait, renew, tell others, again; an error is printed and survived."""

import random
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from troth.cli.owned import OwnedPair
from troth.client.schedule import check_times, is_due, next_renewal, retry_after
from troth.durations import format_duration, parse_duration
from troth.errors import TrothError, UsageError
from troth.host.alarm import Alarm, listening
from troth.host.clock import now
from troth.host.hooks import Hooks, parse_hooks
from troth.host.terminal import note
from troth.x509.names import common_name


class Successor(Protocol):
    """A pair on disk that can be given a successor."""

    def run(self, pair: OwnedPair) -> None:
        """Ask for the successor and write it. Raises: TrothError: it failed; the files are as they were."""

    def reread(self) -> OwnedPair:
        """The pair as it is on disk now."""


def once_or_for_ever(begin: Callable[[], Successor], pair: OwnedPair, given: Mapping[str, Any], verb: str) -> None:
    """What the flags of ``renew`` and ``rekey`` say: now, only when due, or in a loop.

    Args:
        begin: makes the work to do, once everything else has been checked.
        pair: what is on disk.
        given: the flags.
        verb: ``renew`` or ``rekey``, as in the flag of the period.

    Raises:
        TrothError: flags make no sense, or (unless in the loop) it failed.
    """
    hooks = parse_hooks(given["exec_command"], given["pid"], given["pid_file"], given["signal_number"])
    period_text = given[f"{verb}_period"]
    if period_text and not given["daemon"]:
        raise UsageError(f"--{verb}-period needs --daemon")
    threshold = parse_duration(given["expires_in"]) if given["expires_in"] else None
    period = parse_duration(period_text) if period_text else None
    check_times(pair.leaf, threshold, period, f"--{verb}-period")
    if given["daemon"]:
        _stay(begin(), pair, hooks, threshold, period, verb)
    elif threshold is None or _is_now_due(pair, threshold, verb):
        begin().run(pair)
        hooks.run()


def _is_now_due(pair: OwnedPair, threshold: timedelta, verb: str) -> bool:
    moment = now()
    if is_due(pair.leaf, moment, threshold, secrets.randbelow(1000) / 1000):
        return True
    left = timedelta(seconds=int((pair.leaf.not_valid_after_utc - moment).total_seconds()))
    note(f"certificate not {_done(verb)}: expires in {format_duration(left)}")
    return False


def _done(verb: str) -> str:
    return f"{verb}ed"


def _stay(
    work: Successor, pair: OwnedPair, hooks: Hooks, threshold: timedelta | None, period: timedelta | None, verb: str
) -> None:
    """Go on until SIGINT or SIGTERM; SIGHUP renews at once. A renewal that has begun is finished first."""
    with listening() as alarm:
        delay = next_renewal(pair.leaf, now(), random.random(), expires_in=threshold, period=period)  # noqa: S311
        _info(f"first {'renewal' if verb == 'renew' else verb} in {_rounded(delay)}")
        while _slept(alarm, delay):
            dice = random.random()  # noqa: S311 - spreads load, guards nothing
            try:
                # The files may have been replaced by somebody else since; what is on disk is what is renewed.
                pair = work.reread()
                work.run(pair)
                pair = work.reread()
            except TrothError as error:
                delay = retry_after(pair.leaf, now(), dice)
                _error(f"{error.message}; next try in {_rounded(delay)}")
                continue
            _tell(hooks)
            delay = next_renewal(pair.leaf, now(), dice, expires_in=threshold, period=period, renewed=True)
            _info(f"{common_name(pair.leaf.subject)} certificate {_done(verb)}, next in {_rounded(delay)}")


def _slept(alarm: Alarm, delay: timedelta) -> bool:
    if not alarm.stopped:
        alarm.wait(delay)
    return not alarm.stopped


def _tell(hooks: Hooks) -> None:
    try:
        hooks.run()
    except TrothError as error:
        _error(error.message)


def _rounded(delay: timedelta) -> str:
    return format_duration(timedelta(seconds=round(delay.total_seconds())))


def _stamp(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y/%m/%d %H:%M:%S")


def _info(text: str) -> None:
    print(f"INFO: {_stamp(now())} {text}", flush=True)


def _error(text: str) -> None:
    note(f"ERROR: {_stamp(now())} {text}")
