"""Round scores for display, alike on the screen, on the page and in figures."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.scoring.statistics import MetricSummary

DECIMALS = 3  # of an ordinary score
SIGNIFICANT_DIGITS = 2  # of a standard deviation, at least
MAX_DECIMALS = 9  # beyond which a number is in scientific notation
ROUNDING_ERROR = 1e-12  # relative to the score; smaller deviations are rounding errors


class FormattedSummary(NamedTuple):
    """A metric's statistics as text: `mean` may be "undefined", the others may be empty."""

    mean: str
    std: str
    interval: str

    @property
    def headline(self) -> str:
        """Mean with the standard deviation in parentheses, if there is one: 0.803 (0.037)."""
        return f"{self.mean} ({self.std})" if self.std else self.mean


def choose_decimals(score: float, std: float | None = None, least: int = DECIMALS) -> int:
    """Return the number of decimals that shows two significant digits of the deviation.

    Args:
        score: The score or mean. Without a deviation, its own digits are shown.
        std: Standard deviation or half the width of an interval, if there is one.
        least: Smallest number of decimals.
    """
    decisive = abs(score)
    if std is not None and math.isfinite(std) and std > ROUNDING_ERROR * abs(score):
        decisive = std
    if not math.isfinite(decisive) or decisive == 0:
        return least
    needed = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(decisive))
    return min(max(least, needed), MAX_DECIMALS)


def format_number(value: float | None, decimals: int | None = None) -> str:
    """Return a number with so many decimals, by default as many as `choose_decimals` gives it.

    None is empty, and NaN or infinity "undefined".
    """
    if value is None:
        return ""
    if not math.isfinite(value):
        return "undefined"
    decimals = choose_decimals(value) if decimals is None else decimals
    text = f"{value:z.{decimals}f}"
    vanishes = decimals == MAX_DECIMALS and value != 0 and float(text) == 0
    return f"{value:.{SIGNIFICANT_DIGITS - 1}e}" if vanishes else text


def format_interval(ci: tuple[float, float] | None, decimals: int) -> str:
    """Return both ends of an interval; empty for None."""
    return " to ".join(format_number(end, decimals) for end in ci) if ci else ""


def format_summary(summary: MetricSummary) -> FormattedSummary:
    """Return the statistics of a metric; a single fold has no deviation and no interval."""
    std = None if summary.ci is None else summary.std
    decimals = choose_decimals(summary.mean, std)
    return FormattedSummary(
        format_number(summary.mean, decimals),
        format_number(std, decimals),
        format_interval(summary.ci, decimals),
    )


def common_decimals(
    rows: Iterable[tuple[float | None, float | None]], least: int = DECIMALS
) -> int:
    """Return the number of decimals for a column of scores and their deviations."""
    return max(
        (choose_decimals(score, std, least) for score, std in rows if score is not None),
        default=least,
    )
