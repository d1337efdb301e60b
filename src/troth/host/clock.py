"""The only place that reads the wall clock; everything below is handed the moment as an argument."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)
