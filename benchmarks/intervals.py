"""Coverage of 95% confidence intervals of a mean score over folds.

Fresh tables are drawn, ridge regressions on the labels as -1 and 1 (which have a closed form) are
cross-validated on each, and three intervals are computed from the scores of the folds: that of the
corrected resampled t statistic, the same clipped to the range of the metric, and the same on the
logit scale, transformed back. Coverage is the fraction of tables whose interval contains the
expected score, which is the mean over all tables.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pipeline.scoring.statistics import summarise

N_TABLES = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A distribution of tables, a metric and a cross-validation."""

    metric: str
    n_rows: int
    n_features: int
    n_labels: int
    noise: float
    n_splits: int
    n_repeats: int = 1

    @property
    def test_fraction(self) -> float:
        """Ratio n_test / n_train."""
        return 1 / (self.n_splits - 1)


CASES = (
    Case("subset accuracy", 200, 10, 3, 0.3, n_splits=10, n_repeats=3),
    Case("subset accuracy", 60, 3, 2, 0.03, n_splits=10, n_repeats=3),
    Case("subset accuracy", 60, 3, 2, 0.03, n_splits=5),
    Case("subset accuracy", 60, 5, 8, 1.0, n_splits=10, n_repeats=3),
    Case("subset accuracy", 60, 5, 8, 1.0, n_splits=5),
    Case("Hamming loss", 60, 5, 5, 0.05, n_splits=10, n_repeats=3),
    Case("Hamming loss", 60, 5, 5, 0.05, n_splits=5),
    Case("Hamming loss", 60, 5, 5, 0.05, n_splits=2),
)


def simulate_scores(case: Case, n_tables: int, seed: int) -> Floats:
    """Return the scores of the folds of fresh tables, of shape (n_tables, n_folds)."""
    rng = np.random.default_rng(seed)
    return np.stack([_fold_scores(case, rng) for _ in range(n_tables)])


def _fold_scores(case: Case, rng: np.random.Generator) -> Floats:
    X = rng.normal(size=(case.n_rows, case.n_features))
    weights = rng.normal(size=(case.n_features, case.n_labels))
    noise = rng.normal(size=(case.n_rows, case.n_labels)) * np.sqrt(case.n_features)
    y = np.where(X @ weights + case.noise * noise > 0, 1.0, -1.0)
    rows = np.stack([rng.permutation(case.n_rows) for _ in range(case.n_repeats)])
    tests = rows.reshape(case.n_repeats * case.n_splits, case.n_rows // case.n_splits)
    X_test, y_test = X[tests], y[tests]
    transposed = X_test.transpose(0, 2, 1)
    gram = X.T @ X + np.eye(case.n_features) - transposed @ X_test
    fitted = np.linalg.solve(gram, X.T @ y - transposed @ y_test)
    correct = (X_test @ fitted > 0) == (y_test > 0)
    if case.metric == "Hamming loss":
        return np.asarray(1 - correct.mean(axis=(1, 2)))
    return np.asarray(correct.all(axis=2).mean(axis=1))


def logit_interval(mean: float, low: float, high: float) -> tuple[float, float]:
    """Return the interval on the logit scale, by the delta method, for an unclipped interval."""
    if not 0 < mean < 1:
        return mean, mean
    half = (high - low) / 2 / (mean * (1 - mean))
    return float(expit(logit(mean) - half)), float(expit(logit(mean) + half))


def intervals(case: Case, values: Floats) -> dict[str, tuple[float, float]]:
    """Return the intervals of each kind for the scores of the folds of one table."""
    unclipped = summarise(values.tolist(), case.test_fraction)
    clipped = summarise(values.tolist(), case.test_fraction, bounds=(0.0, 1.0))
    if unclipped.ci is None or clipped.ci is None:
        raise ValueError("Expected at least two folds.")
    return {
        "unclipped": unclipped.ci,
        "clipped": clipped.ci,
        "logit": logit_interval(unclipped.mean, *unclipped.ci),
    }


def main() -> None:
    began = time.perf_counter()
    for case in CASES:
        scores = simulate_scores(case, N_TABLES, seed=0)
        expected = float(scores.mean())
        by_table = [intervals(case, values) for values in scores]
        beyond = np.mean([low < 0 or high > 1 for low, high in (i["unclipped"] for i in by_table)])
        print(
            f"{case.metric} {expected:.2f}, {case.n_rows} rows, {case.n_splits} folds x "
            f"{case.n_repeats}; unclipped intervals beyond the range: {beyond:.0%}"
        )
        for kind in by_table[0]:
            ends = np.array([table[kind] for table in by_table])
            covered = ((ends[:, 0] <= expected) & (expected <= ends[:, 1])).mean()
            print(
                f"  {kind:9}  coverage {covered:.1%}, mean width {np.ptp(ends, axis=1).mean():.3f}"
            )
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
