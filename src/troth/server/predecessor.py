"""step-ca's database beside ours: nothing is served while it holds what ours does not, such as a revocation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from troth.host import clock
from troth.server import ServerError
from troth.store.records import Import, Store
from troth.store.step import SourceError
from troth.store.step.records import collect
from troth.store.step.source import Source, source_of


def check_imported(db: Mapping[str, Any] | None, config: Path, base: Path, store: Store) -> None:
    """Make sure that the database named in ``ca.json`` is empty, or imported and not written to since.

    One with a database server counts as imported once it was: asking it again would tie us to it for good.

    Args:
        db: ``db`` of ca.json.
        config: ca.json.
        base: the step directory.
        store: our database.

    Raises:
        TrothError: it is not; the hint is the command to type.
    """
    if db is None:
        return
    hint = f"troth ca migrate {config} --dry-run"
    try:
        source = source_of(db, base)
        if source.is_absent() or _is_known(source, store.imports()):
            return
        if not source.is_file:
            raise ServerError(f"step-ca's database {source.name} has not been imported", hint=hint)
        _compare(source, store, hint)
    except SourceError as error:
        message = f"step-ca's database in {config} has not been imported: {error.message}"
        raise ServerError(message, hint=error.hint or hint) from error


def _is_known(source: Source, known: list[Import]) -> bool:
    signature = source.signature()
    return any((one.source, one.signature) == (source.name, signature) for one in known)


def _compare(source: Source, store: Store, hint: str) -> None:
    """Its files are not as they were imported: were only times changed, or its place, or is there something new?"""
    signature = source.signature()
    with source.reading() as (entries, torn):
        found = collect(entries, clock.now())
    problems = [*torn, *found.problems]
    if not found.digest and not problems:
        return
    if any(one.digest == found.digest for one in store.imports()):
        store.take_over((), None, Import(source.name, signature, found.digest), clock.now())
        return
    state = "was written to since it was imported" if store.imports() else "has not been imported"
    raise ServerError(
        f"step-ca's database {source.name} {state}: it holds {len(found.certificates)} certificates and "
        f"{len(found.revocations)} revocations",
        hint=hint,
    )
