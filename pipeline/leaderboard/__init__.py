"""The jobs of a sweep, best first: as a record, a table, a figure and on screen."""

from pipeline.leaderboard.record import (
    Criterion,
    Entry,
    Leaderboard,
    Number,
    Status,
    by_column,
    kind_of,
)

__all__ = ["Criterion", "Entry", "Leaderboard", "Number", "Status", "by_column", "kind_of"]
