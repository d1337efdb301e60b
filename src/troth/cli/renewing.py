"""The loop of ``--daemon``: wait, renew, tell others, again; an error is printed and survived."""

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from troth.cli.owned import OwnedPair
from troth.client.schedule import next_renewal, retry_after
from troth.durations import format_duration
from troth.errors import TrothError
from troth.host.alarm import Alarm, listening
from troth.host.clock import now
from troth.host.hooks import Hooks
from troth.host.terminal import note
from troth.x509.names import common_name

if TYPE_CHECKING:
    from troth.cli.ca_renew import Renewal


def stay(
    renewal: "Renewal", pair: OwnedPair, hooks: Hooks, threshold: timedelta | None, period: timedelta | None
) -> None:
    """Renew until SIGINT or SIGTERM; SIGHUP renews at once. A renewal that has begun is finished first."""
    with listening() as alarm:
        delay = next_renewal(pair.leaf, now(), random.random(), expires_in=threshold, period=period)  # noqa: S311
        _info(f"first renewal in {_rounded(delay)}")
        while _slept(alarm, delay):
            dice = random.random()  # noqa: S311 - spreads load, guards nothing
            try:
                # The files may have been replaced by somebody else since; what is on disk is what is renewed.
                pair = renewal.reread()
                renewal.run(pair)
                pair = renewal.reread()
            except TrothError as error:
                delay = retry_after(pair.leaf, now(), dice)
                _error(f"{error.message}; next try in {_rounded(delay)}")
                continue
            _tell(hooks)
            delay = next_renewal(pair.leaf, now(), dice, expires_in=threshold, period=period, renewed=True)
            _info(f"{common_name(pair.leaf.subject)} certificate renewed, next in {_rounded(delay)}")


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
