"""Group commit: the changes that wait at one moment share a transaction, and each is answered after it is durable."""

import asyncio

from troth.store import StoreError
from troth.store.records import Change, Store


class GroupCommit:
    """Collects changes within one turn of its event loop and applies them together, inline on the loop.

    One writer a process is what SQLite wants, and a thread would only add its switches.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []

    async def record(self, change: Change) -> None:
        """Return when the change is on disk.

        Raises:
            StoreError: it was refused (a spent token, a revoked serial) or could not be written.
        """
        loop = self._loop
        if loop is None:
            # Asked once: each asking costs a system call (the interpreter looks whether it was forked).
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((change, future))
        await future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        outcomes = self._applied([change for change, _ in batch])
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.cancelled():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)

    def _applied(self, changes: list[Change]) -> list[StoreError | None]:
        """Everybody gets an outcome, and a change that cannot even be written down does not take the others with it."""
        try:
            return self._store.apply(changes)
        except StoreError as error:
            return [error] * len(changes)
        except Exception as error:
            if len(changes) > 1:
                return [outcome for change in changes for outcome in self._applied([change])]
            return [StoreError(f"cannot record in the database: {type(error).__name__}: {error}")]
