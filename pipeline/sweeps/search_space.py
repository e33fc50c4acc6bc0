"""Search space and objectives."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)

from pipeline.comparison import Criterion, Number
from pipeline.errors import UserError, suggest
from pipeline.scoring import MetricSummary, lower_is_better, short_name

DIGITS = 6  # of a drawn number; the command that repeats it stays readable
LOG = "log"


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends.

    Attributes:
        low: The smallest.
        high: The largest; itself included.
        integer: Whether they are whole.
        log: Whether they are drawn evenly on a logarithmic scale.
        step: Distance of neighbours, counted from `low`; None: any number, or any whole number.
    """

    low: float
    high: float
    integer: bool = False
    log: bool = False
    step: float | None = None

    def text(self, value: float) -> str:
        """Return a drawn value as it is written on the command line, never outside the ends."""
        if self.integer:
            return str(int(value))
        if self.step is not None:
            place = round((value - self.low) / self.step)
            return str(float(_exact(self.low) + place * _exact(self.step)))
        return str(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest."""
        return self.low, self.high

    @property
    def size(self) -> int | None:
        """How many values there are; None: too many to count."""
        if self.step is None and not self.integer:
            return None
        return round((self.high - self.low) / (self.step or 1)) + 1

    def value(self, place: int) -> float:
        """Return the value in that place, from 0."""
        value = self.low + place * (self.step or 1)
        return int(value) if self.integer else value


@dataclass(frozen=True)
class Choice:
    """Options without order, each as it is written on the command line."""

    options: tuple[str, ...]

    def text(self, value: str) -> str:
        """Return a drawn option as it is written on the command line."""
        return value

    @property
    def ends(self) -> tuple[str, str]:
        """The first and the last."""
        return self.options[0], self.options[-1]

    @property
    def size(self) -> int:
        """How many options there are."""
        return len(self.options)

    def value(self, place: int) -> str:
        """Return the option in that place, from 0."""
        return self.options[place]


Parameter = Interval | Choice


@dataclass(frozen=True)
class Space:
    """What is searched, and what stays as it is.

    Attributes:
        parameters: By key.
        fixed: The other overrides, as on the command line.
    """

    parameters: dict[str, Parameter]
    fixed: tuple[str, ...]

    def overrides(self, values: dict[str, float | str]) -> tuple[str, ...]:
        """Return drawn values as overrides, in the order of the parameters."""
        return tuple(
            f"{key}={parameter.text(values[key])}"  # type: ignore[arg-type]
            for key, parameter in self.parameters.items()
        )


def divide(overrides: Iterable[Override]) -> tuple[dict[str, Override], tuple[str, ...]]:
    """Return what is to be searched, by key, and the other overrides; the last of a key counts."""
    last: dict[str, Override] = {}
    for override in overrides:
        key = override.get_key_element()
        last.pop(key, None)
        last[key] = override
    searched = {key: override for key, override in last.items() if override.is_sweep_override()}
    fixed = [override for override in last.values() if not override.is_sweep_override()]
    return searched, tuple(str(override.input_line) for override in fixed)


def read_parameter(override: Override, present: object) -> Parameter:
    """Return what one override spans.

    `interval(a,b)` spans whole numbers where the setting has one now, as `training.batch_size`
    does, or where it is written as `int(interval(a,b))`; both ends are included. `range(a,b,step)`
    ends before b, as in Python. All else is a choice.

    Args:
        override: A sweep override.
        present: The value that its key has now, or None.

    Raises:
        UserError: If it spans nothing, or what cannot be searched.
    """
    swept = override.value()
    key = override.get_key_element()
    if isinstance(swept, IntervalSweep):
        return _interval(key, swept, present)
    if isinstance(swept, Sweep) and swept.tags:
        raise UserError(f"{key}: expected a tag on interval() alone. Received: {_tags(swept.tags)}")
    if isinstance(swept, RangeSweep):
        return _range(key, swept)
    if isinstance(swept, ChoiceSweep):
        swept.shuffle = False  # an order of its own would make it another space
    options = tuple(override.sweep_string_iterator())
    if not options:
        raise UserError(f"{key}: expected an option or more. Received: {override.input_line}")
    if len(set(options)) < len(options):
        raise UserError(f"{key}: expected each option once. Received: {', '.join(options)}")
    return Choice(options)


def _interval(key: str, swept: IntervalSweep, present: object) -> Interval:
    if swept.tags - {LOG}:
        raise UserError(f"{key}: expected the tag {LOG!r} or none. Received: {_tags(swept.tags)}")
    low, high = swept.start, swept.end
    if low is None or high is None or not low < high:
        raise UserError(f"{key}: expected interval(low,high). Received: interval({low},{high})")
    log = LOG in swept.tags
    if log and low <= 0:
        raise UserError(f"{key}: expected positive ends, for a log scale. Received: {low}")
    if isinstance(low, int) and isinstance(high, int):
        return Interval(low, high, True, log)
    if isinstance(present, int) and not isinstance(present, bool):
        if not (low.is_integer() and high.is_integer()):
            raise UserError(f"{key}: expected whole ends. Received: interval({low},{high})")
        return Interval(int(low), int(high), True, log)
    return Interval(low, high, False, log)


def _range(key: str, swept: RangeSweep) -> Interval:
    parts = (swept.start or 0, swept.stop or 0, swept.step)
    start, stop, step = map(_exact, parts)
    n = ceil((stop - start) / step) if step else 0
    if n < 1:
        raise UserError(
            f"{key}: expected range(start,stop,step) with a value or more. "
            f"Received: range({','.join(map(str, parts))})"
        )
    low, high = sorted((start, start + (n - 1) * step))
    if all(isinstance(part, int) for part in parts):
        return Interval(int(low), int(high), True, step=abs(int(step)))
    return Interval(float(low), float(high), step=abs(float(step)))


def _exact(number: float) -> Fraction:
    return Fraction(str(number))  # 0.1 is a tenth, as it was written


def _tags(tags: set[str]) -> str:
    return ", ".join(sorted(map(repr, tags)))


Of = Literal["mean", "ci_low"]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """One number to make better.

    Attributes:
        metric: Its name in summaries.
        of: The mean over folds; or the end of its honest interval that is worse.
        minimize: Whether lower is better.
    """

    metric: str
    of: Of
    minimize: bool

    @property
    def criterion(self) -> Criterion:
        """The same for a leaderboard."""
        worse_end: Number = "ci_high" if self.minimize else "ci_low"
        return Criterion(self.metric, "mean" if self.of == "mean" else worse_end, self.minimize)

    @property
    def name(self) -> str:
        """What the number is called in MLflow."""
        return f"{self.metric}_{self.criterion.of}"

    @property
    def direction(self) -> Direction:
        """The same in Optuna's word."""
        return "minimize" if self.minimize else "maximize"

    def value(self, summary: Mapping[str, MetricSummary]) -> float | None:
        """Return the number, or None where it is undefined."""
        metric = summary[self.metric]
        if self.of == "mean":
            value = metric.mean
        elif metric.ci is None:
            return None
        else:
            value = metric.ci[1] if self.minimize else metric.ci[0]
        return value if math.isfinite(value) else None


def make_objectives(
    metrics: Sequence[str] | None,
    directions: Sequence[Direction] | None,
    of: Of,
    scored: Sequence[str],
) -> tuple[Objective, ...]:
    """Return what the search is to make better.

    Args:
        metrics: By name; None: the headline.
        directions: One for each; None: as the metrics' names say, and up for a user's own.
        of: Which number of each metric.
        scored: The metrics that jobs compute, the headline first.

    Raises:
        UserError: If a metric is not computed, or directions do not pair up.
    """
    computed = [short_name(name) for name in scored]
    names = computed[:1] if metrics is None else [short_name(name) for name in metrics]
    for name in names:
        if name not in computed:
            raise UserError(
                f"hydra.sweeper.metrics: {name!r} is not among scoring.metrics. "
                f"{suggest(name, computed)} Add it: 'scoring.metrics=[{','.join(scored)},{name}]'"
            )
    if len(set(names)) < len(names) or not names:
        raise UserError(f"hydra.sweeper.metrics: expected names, each once. Received: {names}")
    if directions is not None and len(directions) != len(names):
        raise UserError(
            f"hydra.sweeper.directions: expected one for each of {', '.join(names)}. "
            f"Received: {', '.join(directions)}"
        )
    if directions is None:
        lower = [lower_is_better(name) for name in names]
    else:
        lower = [direction == "minimize" for direction in directions]
    return tuple(Objective(name, of, low) for name, low in zip(names, lower, strict=True))
