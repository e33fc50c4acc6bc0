"""What a search makes better: a metric, read off a job's summary, and which way is up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UserError, choices
from pipeline.leaderboard import Criterion, Number
from pipeline.scoring import Summary, lower_is_better, short_name

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

    def value(self, summary: Mapping[str, Summary]) -> float | None:
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
                f"{choices(name, computed)} Add it: 'scoring.metrics=[{','.join(scored)},{name}]'"
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
