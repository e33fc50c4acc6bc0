"""Search space and objectives of a search."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil
from typing import Literal

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)

from pipeline.comparison import Criterion
from pipeline.errors import UserError, suggest
from pipeline.scoring import MetricSummary, lower_is_better, short_name

SIGNIFICANT_DIGITS = 6  # of sampled numbers, so that overrides stay readable
LOG = "log"


@dataclass(frozen=True)
class Interval:
    """Numbers between two bounds, both included.

    Attributes:
        low: Lower bound.
        high: Upper bound.
        integer: Whether values are integers.
        log: Whether to sample on a logarithmic scale.
        step: Distance between values, counted from `low`; None for any number or any integer.
    """

    low: float
    high: float
    integer: bool = False
    log: bool = False
    step: float | None = None

    def format_value(self, value: float) -> str:
        """Return a sampled value as the value of an override, within the bounds."""
        if self.integer:
            return str(int(value))
        if self.step is not None:
            n_steps = round((value - self.low) / self.step)
            return str(float(_exact(self.low) + n_steps * _exact(self.step)))
        rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        return str(min(max(rounded, self.low), self.high))

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound."""
        return self.low, self.high

    @property
    def values(self) -> tuple[float, ...]:
        """All values of an interval with a step."""
        low, step = _exact(self.low), _exact(self.step or 1)
        numbers = (low + i * step for i in range(int((_exact(self.high) - low) / step) + 1))
        return tuple(int(it) if self.integer else float(it) for it in numbers)


@dataclass(frozen=True)
class Choice:
    """Options without order, each as the value of an override."""

    options: tuple[str, ...]

    def format_value(self, value: str) -> str:
        """Return a sampled option as the value of an override."""
        return value

    @property
    def values(self) -> tuple[str, ...]:
        """All options."""
        return self.options

    @property
    def bounds(self) -> tuple[str, str]:
        """First and last option."""
        return self.options[0], self.options[-1]


Parameter = Interval | Choice


@dataclass(frozen=True)
class SearchSpace:
    """Searched parameters and fixed overrides.

    Attributes:
        parameters: Parameters by key.
        fixed: Overrides that are the same for all jobs, as on the command line.
    """

    parameters: dict[str, Parameter]
    fixed: tuple[str, ...]

    def overrides(self, values: dict[str, float | str]) -> tuple[str, ...]:
        """Return sampled values as overrides, in the order of the parameters."""
        return tuple(
            f"{key}={parameter.format_value(values[key])}"  # type: ignore[arg-type]
            for key, parameter in self.parameters.items()
        )

    def grid(self) -> list[dict[str, float | str]]:
        """Return every combination of the values; the last parameter varies fastest.

        Raises:
            UserError: If a parameter has an interval of numbers.
        """
        values: list[tuple[float | str, ...]] = []
        for key, parameter in self.parameters.items():
            if isinstance(parameter, Interval) and parameter.step is None:
                raise UserError(
                    f"{key}: expected options or range(start,stop,step) with "
                    "hydra.sweeper.sampler=grid. Received: an interval of numbers."
                )
            values.append(parameter.values)
        return [
            dict(zip(self.parameters, combination, strict=True)) for combination in product(*values)
        ]


def split_overrides(overrides: Iterable[Override]) -> tuple[dict[str, Override], tuple[str, ...]]:
    """Return the searched overrides by key, and the fixed ones; the last one for a key wins."""
    last: dict[str, Override] = {}
    for override in overrides:
        key = override.get_key_element()
        last.pop(key, None)
        last[key] = override
    searched = {key: override for key, override in last.items() if override.is_sweep_override()}
    fixed = [override for override in last.values() if not override.is_sweep_override()]
    return searched, tuple(str(override.input_line) for override in fixed)


def make_parameter(override: Override, current_value: object) -> Parameter:
    """Make the parameter that a sweep override describes.

    `interval(a,b)` includes both bounds. It holds integers if the setting is an integer, as
    `training.batch_size`, or if it is written as `int(interval(a,b))`. `range(a,b,step)` excludes
    b, as in Python. Everything else is a choice.

    Raises:
        UserError: If the override has no values, or cannot be searched.
    """
    sweep = override.value()
    key = override.get_key_element()
    if isinstance(sweep, IntervalSweep):
        return _make_interval(key, sweep, current_value)
    if isinstance(sweep, Sweep) and sweep.tags:
        raise UserError(
            f"{key}: only interval() can have a tag. Received: {_format_tags(sweep.tags)}"
        )
    if isinstance(sweep, RangeSweep):
        return _make_stepped_interval(key, sweep)
    if isinstance(sweep, ChoiceSweep):
        sweep.shuffle = False  # another order of the options would be another space
    options = tuple(override.sweep_string_iterator())
    if not options:
        raise UserError(f"{key}: expected at least one option. Received: {override.input_line}")
    if len(set(options)) < len(options):
        raise UserError(f"{key}: expected different options. Received: {', '.join(options)}")
    return Choice(options)


def _make_interval(key: str, sweep: IntervalSweep, current_value: object) -> Interval:
    if sweep.tags - {LOG}:
        raise UserError(
            f"{key}: expected the tag {LOG!r} or none. Received: {_format_tags(sweep.tags)}"
        )
    low, high = sweep.start, sweep.end
    if low is None or high is None or not low < high:
        raise UserError(f"{key}: expected interval(low,high). Received: interval({low},{high})")
    log = LOG in sweep.tags
    if log and low <= 0:
        raise UserError(f"{key}: a log scale needs bounds above 0. Received: {low}")
    if isinstance(low, int) and isinstance(high, int):
        return Interval(low, high, True, log)
    if isinstance(current_value, int) and not isinstance(current_value, bool):
        if not (low.is_integer() and high.is_integer()):
            raise UserError(f"{key}: expected integer bounds. Received: interval({low},{high})")
        return Interval(int(low), int(high), True, log)
    return Interval(low, high, False, log)


def _make_stepped_interval(key: str, sweep: RangeSweep) -> Interval:
    arguments = (sweep.start or 0, sweep.stop or 0, sweep.step)
    start, stop, step = map(_exact, arguments)
    n_values = ceil((stop - start) / step) if step else 0
    if n_values < 1:
        raise UserError(
            f"{key}: expected range(start,stop,step) with at least one value. "
            f"Received: range({','.join(map(str, arguments))})"
        )
    low, high = sorted((start, start + (n_values - 1) * step))
    if all(isinstance(argument, int) for argument in arguments):
        return Interval(int(low), int(high), True, step=abs(int(step)))
    return Interval(float(low), float(high), step=abs(float(step)))


def _exact(number: float) -> Fraction:
    return Fraction(str(number))  # 0.1 as one tenth


def _format_tags(tags: set[str]) -> str:
    return ", ".join(sorted(map(repr, tags)))


Statistic = Literal["mean", "ci_low"]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """A number to optimize.

    Attributes:
        metric: Name of the metric.
        statistic: `mean` over folds, or `ci_low`: the worse bound of its confidence interval.
        minimize: Whether lower is better.
    """

    metric: str
    statistic: Statistic
    minimize: bool

    @property
    def criterion(self) -> Criterion:
        """The criterion of a leaderboard that ranks by this objective."""
        worse_bound: Literal["ci_low", "ci_high"] = "ci_high" if self.minimize else "ci_low"
        statistic = "mean" if self.statistic == "mean" else worse_bound
        return Criterion(self.metric, statistic, self.minimize)

    @property
    def name(self) -> str:
        """Name of the number in MLflow."""
        return f"{self.metric}_{self.criterion.statistic}"

    @property
    def direction(self) -> Direction:
        """Direction in Optuna's terms."""
        return "minimize" if self.minimize else "maximize"

    def value(self, summary: Mapping[str, MetricSummary]) -> float | None:
        """Return the number, or None if it is undefined."""
        value = summary[self.metric].as_dict().get(self.criterion.statistic, math.nan)
        return value if math.isfinite(value) else None


def make_objectives(
    metrics: Sequence[str] | None,
    directions: Sequence[Direction] | None,
    statistic: Statistic,
    scoring_metrics: Sequence[str],
    greater_is_better: Mapping[str, bool],
) -> tuple[Objective, ...]:
    """Make the objectives of a search.

    Args:
        metrics: Names of metrics; None for the headline metric.
        directions: One per metric; None for the direction of each metric.
        statistic: The number to optimize of each metric.
        scoring_metrics: The metrics that jobs compute, the headline metric first.
        greater_is_better: The setting `scoring.greater_is_better`.

    Raises:
        UserError: If a metric is not computed, or metrics and directions differ in number.
    """
    computed = [short_name(name) for name in scoring_metrics]
    names = computed[:1] if metrics is None else [short_name(name) for name in metrics]
    for name in names:
        if name not in computed:
            raise UserError(
                f"hydra.sweeper.metrics: {name!r} is not in scoring.metrics. "
                f"{suggest(name, computed)} Add it: "
                f"'scoring.metrics=[{','.join(scoring_metrics)},{name}]'"
            )
    if len(set(names)) < len(names) or not names:
        raise UserError(f"hydra.sweeper.metrics: expected different names. Received: {names}")
    if directions is not None and len(directions) != len(names):
        raise UserError(
            f"hydra.sweeper.directions: expected one for each of {', '.join(names)}. "
            f"Received: {', '.join(directions)}"
        )
    if directions is None:
        return tuple(
            Objective(name, statistic, lower_is_better(name, greater_is_better)) for name in names
        )
    return tuple(
        Objective(name, statistic, direction == "minimize")
        for name, direction in zip(names, directions, strict=True)
    )
