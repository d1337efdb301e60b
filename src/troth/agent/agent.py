"""The agent: what is due, do it, remember it. The daemon and ``--once`` are two ways to drive it."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from troth.agent import schedule
from troth.agent.config import Config, Identity
from troth.agent.issuer import Issuer
from troth.agent.log import Log
from troth.agent.proxy import Proxy
from troth.agent.rotation import Checkpoint, Now, Result, Rotator, current_digest, current_facts
from troth.agent.state import IdentityState, read_states, write_states
from troth.errors import TrothError
from troth.host import clock

WATCH_SECONDS = 30.0
TOGETHER = timedelta(seconds=2)
# A clock that is set back by less only delays what is due by as much.
CLOCK_TOLERANCE = timedelta(seconds=30)
Dice = Callable[[], float]


def _dice() -> float:
    return random.random()  # noqa: S311 - spreads renewals, no secret


class Agent:
    """Keeps the identities of one configuration.

    Args:
        config: what is wanted.
        issuer: where certificates come from.
        proxy: the nginx that shows them.
        log: hears of everything done.
        dice: uniform in [0, 1).
        checkpoint: called after each step of a rotation.
        now: the present, UTC.
    """

    def __init__(
        self,
        config: Config,
        issuer: Issuer,
        proxy: Proxy,
        log: Log,
        dice: Dice = _dice,
        checkpoint: Checkpoint = lambda _: None,
        now: Now = clock.now,
    ) -> None:
        self.config = config
        self._log = log
        self._dice = dice
        self._now = now
        self._rotator = Rotator(config.state, issuer, proxy, config.proof_timeout, checkpoint, now)
        self._turn = asyncio.Lock()
        self._due: dict[str, datetime] = {}
        self._last = now()
        # Of identities whose files are not ours: what they held when we last acted, and when a failure is tried again.
        self._known: dict[str, str] = {}
        self._again: dict[str, datetime] = {}
        before = read_states(config.state)
        self.states = {one.name: before.get(one.name, IdentityState(one.name)) for one in config.identities}

    async def start(self) -> None:
        """Finish what an earlier process left, then look at every identity."""
        renewed = [identity for identity in self.config.identities if identity.renewed]
        async with self._turn:
            results = await asyncio.to_thread(self._rotator.recover, renewed)
        for result in results:
            self._note(result, "interrupted rotation")
        for identity in renewed:
            try:
                self._rotator.settle(identity)
            except TrothError as error:
                self._log.error(error.message, identity=identity.name)
        for identity in self.config.identities:
            self._plan(identity)
            if not identity.renewed:
                self._due[identity.name] = self._now()
        self._save()

    def hurry(self) -> None:
        """Whatever failed last time is due now: somebody asks who may have removed the cause."""
        for name, state in self.states.items():
            if state.failures:
                self._due[name] = self._again[name] = self._now()

    async def rotate_now(self, *identities: Identity) -> list[Result]:
        """Rotate these at once, whenever they are due; what came of each."""
        async with self._turn:
            results = await asyncio.to_thread(self._rotator.rotate, list(identities))
        for result in results:
            self._note(result, "rotation")
            self._plan(self.config.identity(result.name), renewed=result.ok)
        self._save()
        return results

    async def act(self) -> list[Result]:
        """Do everything that is due now, or within moments, in one go."""
        self._heed_clock()
        limit = self._now() + TOGETHER
        due = [identity for identity in self.config.identities if self._due[identity.name] <= limit]
        results: list[Result] = []
        renewed = [identity for identity in due if identity.renewed]
        if renewed:
            results += await self.rotate_now(*renewed)
        for identity in due:
            if not identity.renewed:
                results += await self._watch(identity)
        if due:
            self._save()
        return results

    async def _watch(self, identity: Identity) -> list[Result]:
        """A user's own files: act when they are not what was last proven; what failed is tried again at intervals."""
        state, digest = self.states[identity.name], current_digest(identity)
        if identity.name in self._known:
            changed = digest != self._known[identity.name]
        else:
            facts = current_facts(identity)
            changed = facts is None or str(facts.serial) != state.serial or state.failures > 0
        results = []
        if changed or (state.failures and self._now() >= self._again.get(identity.name, self._now())):
            async with self._turn:
                same = _trust(digest) == _trust(self._known.get(identity.name, "")) and state.failures == 0
                redeploy = partial(self._rotator.redeploy, identity, trusts_others=not same)
                results = [await asyncio.to_thread(redeploy)]
            self._note(results[0], "own files")
            failures = self.states[identity.name].failures
            self._again[identity.name] = schedule.retry(failures, self._now(), None, self._dice()).at
        self._known[identity.name] = digest
        self._plan(identity)
        return results

    def _heed_clock(self) -> None:
        """What was planned by a clock that ran ahead would not be due for as long as it ran ahead."""
        now = self._now()
        if now < self._last - CLOCK_TOLERANCE:
            seconds = int((self._last - now).total_seconds())
            self._log.error("the clock went back, everything is planned anew", seconds=seconds)
            self._again.clear()
            for identity in self.config.identities:
                self._plan(identity)
        self._last = now

    def seconds_until_due(self) -> float:
        """Until the next thing to do; 0 when something is due."""
        now = self._now()
        first = min(self._due.values(), default=now + timedelta(hours=1))
        return max(0.0, (first - now).total_seconds())

    def _plan(self, identity: Identity, *, renewed: bool = False) -> None:
        now = self._now()
        facts = current_facts(identity)
        state = self.states[identity.name]
        if not identity.renewed:
            due, action = schedule.Due(now + timedelta(seconds=WATCH_SECONDS), "watch"), "look at the files"
        elif state.failures:
            ends = facts.not_after if facts is not None else None
            due, action = schedule.retry(state.failures, now, ends, self._dice()), "try again"
        elif facts is None:
            due, action = schedule.Due(now, "no certificate yet"), "enrol"
        else:
            share, dice = self.config.renew_at, self._dice()
            due = schedule.renewal(facts.not_before, facts.not_after, now, share, dice, renewed=renewed)
            action = "renew"
        self._due[identity.name] = due.at
        self.states[identity.name] = replace(
            state,
            subject=facts.subject if facts else identity.subject,
            serial=str(facts.serial) if facts and identity.renewed else state.serial,
            not_after=_text(facts.not_after) if facts else "",
            next_action=f"{action} ({due.why})",
            next_at=_text(due.at),
        )

    def _note(self, result: Result, what: str) -> None:
        state = self.states[result.name]
        serial = str(result.facts.serial) if result.facts else ""
        if result.ok:
            self._log.info(
                f"{what} done", identity=result.name, serial=serial, proof=result.proof.kind, detail=result.proof.detail
            )
        else:
            hint = {"hint": result.hint} if result.hint else {}
            self._log.error(f"{what} failed, the old state stays", identity=result.name, error=result.error, **hint)
        self.states[result.name] = replace(
            state,
            serial=serial,
            last_result="ok" if result.ok else "failed",
            last_at=_text(self._now()),
            proof=result.proof.kind if result.ok else state.proof,
            proof_detail=result.proof.detail if result.ok else state.proof_detail,
            failures=0 if result.ok else state.failures + 1,
            last_error="" if result.ok else result.error,
            last_hint="" if result.ok else result.hint,
        )

    def _save(self) -> None:
        try:
            write_states(self.config.state, self.states)
        except TrothError as error:
            self._log.error("state cannot be written", error=error.message)


def _trust(digest: str) -> str:
    """The part of `current_digest` that stands for the trusted certificates."""
    return digest.rpartition("-")[2]


def failed(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if not result.ok]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
