"""One rotation, step by step: obtain, stage, check, switch, test, reload, prove; keep, or put the old generation back.

Identities due together share one test and one reload. Before anything visible changes a record names the old and the
new generation, so that a process killed at any step leaves matching files and the next start finishes or reverts.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from troth.agent.checks import Facts, check, read_facts
from troth.agent.config import Identity
from troth.agent.issuer import Issuer
from troth.agent.proxy import Proof, Proxy
from troth.agent.state import Pending, clear_pending, read_pending, write_pending
from troth.errors import TrothError
from troth.host import clock
from troth.host.files import FileError, read_file, reason
from troth.host.generations import KEY, TRUST, Generations, Material

OBTAINING_AT_ONCE = 8
# Longer than a worker keeps what it read (`troth.nginx.render.CACHE_VALID_SECONDS`), and its next look at it.
RESTING_SECONDS = 60.0
Checkpoint = Callable[[str], None]
Now = Callable[[], datetime]
STEPS = ("obtained", "staged", "recorded", "switched", "tested", "reloaded", "proven", "kept")


def _nothing(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a rotation; `facts` are those of the certificate in use afterwards."""

    name: str
    ok: bool
    facts: Facts | None
    proof: Proof
    error: str = ""
    seconds: float = 0.0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Staged:
    """A new generation on its way; `reloads` is whether nginx must read it in a reload, or its workers do anyway."""

    identity: Identity
    pending: Pending
    facts: Facts
    reloads: bool = True


class Rotator:
    """Rotates identities of one state directory behind one proxy.

    `checkpoint` is called with the name of each step when it is done; a test ends the process there.
    """

    def __init__(
        self,
        state: Path,
        issuer: Issuer,
        proxy: Proxy,
        proof_timeout: float,
        checkpoint: Checkpoint = _nothing,
        now: Now = clock.now,
    ) -> None:
        self._state = state
        self._issuer = issuer
        self._proxy = proxy
        self._timeout = proof_timeout
        self._checkpoint = checkpoint
        self._now = now

    def rotate(self, identities: Sequence[Identity]) -> list[Result]:
        """Give each identity a new certificate, and prove it; the others are not held up by one that fails."""
        started = time.monotonic()
        results: list[Result] = []
        staged: list[_Staged] = []
        with ThreadPoolExecutor(max(1, min(OBTAINING_AT_ONCE, len(identities)))) as pool:
            outcomes = list(pool.map(self._obtain, identities))
        for identity, outcome in zip(identities, outcomes, strict=True):
            try:
                if isinstance(outcome, TrothError):
                    raise outcome
                self._checkpoint("obtained")
                staged.append(self._stage(identity, outcome))
            except TrothError as error:
                results.append(_failure(identity, error))
        results += self._deploy(staged)
        seconds = time.monotonic() - started
        return [replace(result, seconds=seconds) for result in results]

    def _obtain(self, identity: Identity) -> Material | TrothError:
        try:
            return self._issuer.obtain(identity, current_material(identity), self._now())
        except TrothError as error:
            return error
        except Exception as error:
            # Whatever an answer from outside does to us, it is the failure of one identity and tried again later.
            return TrothError(f"internal error ({type(error).__name__}) while a certificate was obtained: {error}")

    def _stage(self, identity: Identity, material: Material) -> _Staged:
        facts = check(material, self._now(), subject=identity.subject)
        generations = generations_of(identity)
        new = generations.stage(material)
        self._checkpoint("staged")
        pending = Pending(identity.name, generations.current(), new)
        try:
            write_pending(self._state, pending)
        except TrothError:
            generations.discard(new)
            raise
        self._checkpoint("recorded")
        reloads = self._reloads(identity, pending)
        if not reloads and (refusal := self._proxy.refusal(generations.path(new) / KEY)):
            generations.discard(new)
            clear_pending(self._state, identity.name)
            raise TrothError(refusal)
        return _Staged(identity, pending, facts, reloads)

    def _reloads(self, identity: Identity, pending: Pending) -> bool:
        """The workers read a pair by themselves where a variable names it; what is trusted takes a reload always."""
        if pending.old is None or not self._proxy.running() or not self._proxy.follows(identity.name):
            return True
        generations = generations_of(identity)
        old, new = (generations.path(number) / TRUST for number in (pending.old, pending.new))
        return not old.exists() or read_file(old) != read_file(new)

    def _deploy(self, staged: list[_Staged]) -> list[Result]:
        switched: list[_Staged] = []
        results: list[Result] = []
        for one in staged:
            try:
                generations_of(one.identity).switch(one.pending.new)
                switched.append(one)
                self._checkpoint("switched")
            except TrothError as error:
                results.append(self._revert(one, error))
                self._settle([one])
        return results + (self._show(switched) if switched else [])

    def _show(self, switched: list[_Staged]) -> list[Result]:
        """Make nginx use the new files and look at what it shows."""
        if not self._proxy.running():
            return [self._keep(one, Proof("", "nginx does not run")) for one in switched]
        try:
            if any(one.reloads for one in switched):
                self._proxy.test()
                self._checkpoint("tested")
                self._proxy.reload()
                self._checkpoint("reloaded")
        except TrothError as error:
            reverted = [self._revert(one, error) for one in switched]
            self._reload_old(switched)
            return reverted
        results = [self._prove(one) for one in switched]
        self._reload_old([one for one, result in zip(switched, results, strict=True) if not result.ok])
        return results

    def _prove(self, one: _Staged) -> Result:
        try:
            proof = self._proxy.prove(one.identity.name, one.facts, self._timeout)
        except TrothError as error:
            return self._revert(one, error)
        self._checkpoint("proven")
        return self._keep(one, proof)

    def _keep(self, one: _Staged, proof: Proof) -> Result:
        clear_pending(self._state, one.identity.name)
        self._checkpoint("kept")
        resting = RESTING_SECONDS if self._proxy.follows(one.identity.name) else 0.0
        generations_of(one.identity).tidy(resting)
        return Result(one.identity.name, True, one.facts, proof)

    def _revert(self, one: _Staged, cause: TrothError) -> Result:
        """Put the old generation back; the first one ever has nothing to go back to and stays.

        The record stays until nginx has read the old files: it may have read the new ones.
        """
        generations, why = generations_of(one.identity), cause.message
        if one.pending.old is not None:
            try:
                generations.switch(one.pending.old)
                generations.discard(one.pending.new)
            except TrothError as error:
                why = f"{why}; the old generation could not be put back: {error.message}"
        return replace(_failure(one.identity, cause), error=why)

    def _reload_old(self, reverted: Sequence[_Staged]) -> None:
        """Let nginx read the old files again; when even that fails the records stay and the next start does it."""
        if not reverted:
            return
        try:
            if any(one.reloads for one in reverted) and self._proxy.running():
                self._proxy.test()
                self._proxy.reload()
        except TrothError:
            return
        self._settle(reverted)

    def _settle(self, reverted: Sequence[_Staged]) -> None:
        for one in reverted:
            if one.pending.old is None or generations_of(one.identity).current() != one.pending.new:
                clear_pending(self._state, one.identity.name)

    def recover(self, identities: Sequence[Identity]) -> list[Result]:
        """Finish or revert what a killed process left: the link may have moved and nginx may not know, or the reverse.

        The results are those of rotations that were switched; what had not got so far is taken back without one.
        """
        switched: list[_Staged] = []
        reverted: list[_Staged] = []
        results: list[Result] = []
        for identity in identities:
            generations = generations_of(identity)
            pending = read_pending(self._state, identity.name)
            if pending is None:
                generations.tidy()
                continue
            one = _Staged(identity, pending, Facts(0, "", self._now(), self._now(), ()))
            if generations.current() != pending.new:
                generations.discard(pending.new)
                generations.tidy()
                reverted.append(one)
                continue
            try:
                switched.append(self._interrupted(identity, pending))
            except TrothError as error:
                results.append(self._revert(one, error))
                reverted.append(one)
        self._reload_old(reverted)
        return results + (self._show(switched) if switched else [])

    def _interrupted(self, identity: Identity, pending: Pending) -> _Staged:
        """Raises: TrothError: the files of the new generation are not fit to be shown."""
        material = current_material(identity)
        if material is None:
            raise TrothError(f"files of identity {identity.name} are missing")
        facts = check(material, self._now(), subject=identity.subject)
        return _Staged(identity, pending, facts, self._reloads(identity, pending))

    def settle(self, identity: Identity) -> None:
        """Give the key in use the mode and group that are declared.

        Raises:
            TrothError: they cannot be given, or would take the key from workers that read it at each handshake.
        """
        if not identity.group and self._proxy.follows(identity.name):
            if not self._proxy.refusal(identity.key):
                return
            raise TrothError(
                f"nginx's workers read identity {identity.name}, and no group is declared for its key",
                hint=f"give identity {identity.name} the workers' group, or its locations mode static and apply that",
            )
        generations_of(identity).settle()

    def redeploy(self, identity: Identity, *, trusts_others: bool = True) -> Result:
        """A user's own files have changed: check them, reload, prove. They are never moved, so nothing is put back.

        `trusts_others` is whether the trusted certificates changed, too, or may have.
        """
        try:
            material = current_material(identity)
            if material is None:
                raise TrothError(f"files of identity {identity.name} are missing")
            facts = check(material, self._now(), own_authority=False)
            if not self._proxy.running():
                return Result(identity.name, True, facts, Proof("", "nginx does not run"))
            if trusts_others or not self._proxy.follows(identity.name):
                self._proxy.test()
                self._proxy.reload()
            return Result(identity.name, True, facts, self._proxy.prove(identity.name, facts, self._timeout))
        except TrothError as error:
            return _failure(identity, error)


def _failure(identity: Identity, error: TrothError) -> Result:
    return Result(identity.name, False, current_facts(identity), Proof(""), error.message, hint=error.hint or "")


def generations_of(identity: Identity) -> Generations:
    """Where an identity of ours keeps its files."""
    assert identity.directory is not None
    return Generations(identity.directory, identity.key_mode, identity.group)


def current_material(identity: Identity) -> Material | None:
    """The files in use, or None when there are none yet.

    Raises:
        FileError: one cannot be read.
    """
    paths = (identity.certificate, identity.key, identity.trust)
    try:
        if not all(path.exists() for path in paths):
            return None
    except OSError as error:
        raise FileError(f"cannot look at {error.filename}: {reason(error)}") from error
    certificate, key, trust = (read_file(path) for path in paths)
    return Material(certificate, key, trust)


def current_digest(identity: Identity) -> str:
    """What the files in use hold, as a text to compare; empty when one is missing or cannot be read."""
    try:
        material = current_material(identity)
    except TrothError:
        return ""
    if material is None:
        return ""
    parts = (material.certificate, material.key, material.trust)
    return "-".join(hashlib.sha256(part).hexdigest() for part in parts)


def current_facts(identity: Identity) -> Facts | None:
    """The facts of the certificate in use; None when there is none that can be read."""
    try:
        return read_facts(read_file(identity.certificate), str(identity.certificate))
    except TrothError:
        return None
