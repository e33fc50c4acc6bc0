"""The jobs of a sweep, best first: as a record, a table, a figure and on screen."""

from pipeline.leaderboard.record import Entry, Leaderboard, Status, by_column

__all__ = ["Entry", "Leaderboard", "Status", "by_column"]
