"""Compare a run with a repetition of it: score by score, and setting by setting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.nested import read_outer_folds, scored_metrics
from pipeline.comparison.ranking import mean_test_fraction
from pipeline.scoring import are_constant, paired_test
from pipeline.tracking import RunReader, RunRecord
from pipeline.tracking.run_reader import FOLD

TOLERANCE = 1e-6  # relative to the score, up to which two scores agree
ALPHA = 0.05
LENGTH = 12  # characters of a digest
CAUSES = {
    "data_digest": "data",
    "split_digest": "folds",
    "config_digest": "settings",
    "code_version": "code",
    "mlflow.source.git.commit": "commit",
    "machine": "machine",
}
IF_LOGGED = ("device", "version.")  # beginnings of tags that older runs may lack


@dataclass(frozen=True)
class Agreement:
    """A metric of a run and of its repetition.

    Attributes:
        metric: Name of the metric.
        means: Mean over the compared folds, before and now.
        n_folds: Number of compared folds.
        n_equal: Number of folds whose scores are equal to the last bit.
        largest: Largest absolute difference; infinity if a score is undefined on one side only.
        agrees: True if no fold differs by more than a relative 1e-6.
        ci: 95% interval of the mean difference, now less before; None if it has no variance or
            fewer than two folds, and for windows of a time series.
    """

    metric: str
    means: tuple[float, float]
    n_folds: int
    n_equal: int
    largest: float
    agrees: bool
    ci: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """Mean of the repetition less that of the run."""
        return self.means[1] - self.means[0]

    def describe(self) -> str:
        """Say to which digit the scores agree."""
        if self.n_equal == self.n_folds:
            return "to the last digit"
        folds = f"in {self.n_folds - self.n_equal} of {self.n_folds} folds"
        if not math.isfinite(self.largest):
            return f"no: undefined on one side only {folds}"
        decimals = math.floor(-math.log10(2 * self.largest))
        digits = f"to {decimals} decimals" if self.agrees and decimals > 0 else "no"
        return f"{digits}: differs by up to {self.largest:.1e} {folds}"


def compare_runs(reader: RunReader, before: RunRecord, now: RunRecord) -> list[Agreement]:
    """Compare all metrics of a run with those of its repetition, the headline first."""
    sizes = [reader.fold_sizes(record.run_id) for record in (before, now)]
    n_folds = min(map(len, sizes))  # racing may have stopped the run after some folds
    test_fraction = mean_test_fraction(sizes[1], now.params)
    scored = [key.removeprefix(FOLD) for key in before.metrics if key.startswith(FOLD)]
    headline = before.tags.get("headline")
    rows = []
    for metric in sorted(scored, key=lambda name: (name != headline, name)):
        first, second = (
            reader.fold_scores(record.run_id, metric, len(of_run))[:n_folds]
            for record, of_run in zip((before, now), sizes, strict=True)
        )
        rows.append(compare_scores(metric, first, second, test_fraction))
    return rows + _compare_outer_folds(before, now)


def _compare_outer_folds(before: RunRecord, now: RunRecord) -> list[Agreement]:
    """Compare the scores on the test rows of outer folds; none if a run has no outer folds."""
    if any(record.params.get("cv.outer_splits", "None") == "None" for record in (before, now)):
        return []
    tables = [read_outer_folds(record.run_id) for record in (before, now)]
    n_folds = min(map(len, tables))
    test_fraction = None
    if now.params.get("cv.kind") != "time_series":
        test_fraction = float(np.mean([row["n_test"] / row["n_train"] for row in tables[1]]))
    rows = []
    for metric in scored_metrics(tables[0]):
        scores = [[row.get(metric) for row in table[:n_folds]] for table in tables]
        first, second = np.array(scores, dtype=np.float64)
        rows.append(compare_scores(f"outer_{metric}", first, second, test_fraction))
    return rows


def compare_scores(
    metric: str,
    before: NDArray[np.float64],
    now: NDArray[np.float64],
    test_fraction: float | None,
) -> Agreement:
    """Compare the scores of a metric fold by fold.

    Args:
        metric: Name of the metric.
        before: Score of each fold of the run; NaN where undefined.
        now: The same of the repetition.
        test_fraction: Mean of n_test / n_train over folds; None for windows of a time series.
    """
    are_undefined = np.isnan(before) & np.isnan(now)
    gaps = np.where(are_undefined, 0.0, np.abs(now - before))
    gaps[np.isnan(gaps)] = math.inf
    scale = np.maximum(1.0, np.nan_to_num(np.abs(before)))
    both = np.isfinite(before) & np.isfinite(now)
    differences = (now - before)[both]
    ci = None
    if len(differences) > 1 and test_fraction is not None:
        largest = float(np.abs([before[both], now[both]]).max())
        if not are_constant(differences, largest):
            ci = paired_test(differences, test_fraction, alpha=ALPHA, rope=0.0).ci
    return Agreement(
        metric,
        (_mean(before[both]), _mean(now[both])),
        n_folds=len(before),
        n_equal=int((gaps == 0).sum()),
        largest=float(gaps.max(initial=0)),
        agrees=bool((gaps <= TOLERANCE * scale).all()),
        ci=ci,
    )


def find_causes(before: RunRecord, now: RunRecord) -> list[str]:
    """Return what may explain other scores: a line for each difference of data, code or machine."""
    names = CAUSES | {key: key for key in sorted(before.tags) if key.startswith(IF_LOGGED)}
    return [
        f"{name.removeprefix('version.')}: {_shown(before.tags, key)} before, "
        f"{_shown(now.tags, key)} now"
        for key, name in names.items()
        if before.tags.get(key) != now.tags.get(key)
    ]


def _shown(tags: Mapping[str, str], key: str) -> str:
    value = tags.get(key, "not logged")
    return value if key.startswith(("machine", *IF_LOGGED)) else value[:LENGTH]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
