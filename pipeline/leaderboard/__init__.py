"""The jobs of a sweep, best first: as a record, a table, a figure and on screen."""

from pipeline.leaderboard.record import (
    RECEIVED,
    Criterion,
    Entry,
    Leaderboard,
    Number,
    Status,
    by_column,
)

__all__ = ["RECEIVED", "Criterion", "Entry", "Leaderboard", "Number", "Status", "by_column"]
