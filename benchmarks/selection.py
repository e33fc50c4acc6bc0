"""Expected score of the best of several configurations: bias and coverage of four estimates.

Fresh tables are drawn, ridge regressions on the labels as -1 and 1 (which have a closed form) are
cross-validated on each, and the best by mean accuracy over folds is chosen. Its score is estimated
by its mean over folds (naive), by that less the bias of Tibshirani and Tibshirani (A Bias
Correction for the Minimum Error Rate in Cross-validation, Annals of Applied Statistics 3, 2009),
by the bootstrap bias correction of `pipeline.comparison.selection`, and by nested cross-validation
with five outer folds. Its true score is the mean accuracy of its configuration over all tables.
Bias is the mean of estimate minus true score; coverage is the fraction of tables whose 95% interval
contains the true score.

The configurations are equally good (each on other features out of equally informative ones), one
good among bad ones (most see only one of the informative features), or a smooth family (penalties
from far too small to far too large).

`python -m benchmarks.selection FILE` also draws the figure of docs/search.md.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.comparison.selection import expected_scores
from pipeline.scoring.resampled import HeldOutPredictions
from pipeline.scoring.statistics import summarise

N_TABLES = 400
N_ROWS, N_FEATURES, N_LABELS = 200, 20, 3
N_SPLITS, N_OUTER = 10, 5
N_USED = 10  # features of an equal configuration
N_CONFIGURATIONS = (5, 20, 100)
TITLES = {
    "equal": "equally good",
    "one good": "one good among bad ones",
    "smooth": "a range of penalties",
}
COLOURS = {
    "naive": "#D55E00",
    "Tibshirani and Tibshirani": "#999999",
    "bootstrap": "#0072B2",
    "nested": "#009E73",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge:
    """A configuration: the features that it sees, and its penalty."""

    features: tuple[int, ...]
    penalty: float


def make_family(name: str, n: int) -> list[Ridge]:
    """Return n configurations."""
    rng = np.random.default_rng(n)
    if name == "equal":
        subsets = [rng.choice(N_FEATURES, N_USED, replace=False) for _ in range(n)]
        return [Ridge(tuple(subset.tolist()), 1.0) for subset in subsets]
    if name == "one good":
        bad = [Ridge((int(rng.integers(N_FEATURES)),), 1.0) for _ in range(n - 1)]
        return [*bad, Ridge(tuple(range(N_FEATURES)), 1.0)]
    return [Ridge(tuple(range(N_FEATURES)), float(p)) for p in np.geomspace(1e-2, 1e4, n)]


def draw_table(rng: np.random.Generator) -> tuple[Floats, NDArray[np.int8]]:
    """Draw a table whose features are equally informative of all labels."""
    x = rng.normal(size=(N_ROWS, N_FEATURES))
    noise = rng.normal(size=(N_ROWS, N_LABELS)) * 2
    logits = x @ np.full((N_FEATURES, N_LABELS), 1 / np.sqrt(N_FEATURES)) * 2 + noise
    return x, (logits > 0).astype(np.int8)


def predict(
    family: Sequence[Ridge], x: Floats, y: NDArray[np.int8], fold: NDArray[np.int64]
) -> Floats:
    """Return held-out predictions, of shape (n_configurations, n_rows, n_labels)."""
    scores = np.empty((len(family), *y.shape))
    target = 2.0 * y - 1
    for k in range(fold.max() + 1):
        train, test = fold != k, fold == k
        gram, right = x[train].T @ x[train], x[train].T @ target[train]
        for i, ridge in enumerate(family):
            used = list(ridge.features)
            left = gram[np.ix_(used, used)] + ridge.penalty * np.eye(len(used))
            scores[i, test] = x[np.ix_(test, used)] @ np.linalg.solve(left, right[used])
    return scores


def are_correct(
    family: Sequence[Ridge], x: Floats, y: NDArray[np.int8], fold: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows have all labels right, of shape (n_configurations, n_rows)."""
    is_correct: NDArray[np.bool_] = ((predict(family, x, y, fold) > 0) == y).all(axis=2)
    return is_correct


def mean_by_fold(is_correct: NDArray[np.bool_], fold: NDArray[np.int64]) -> Floats:
    """Return accuracies, of shape (n_configurations, n_folds)."""
    folds = range(fold.max() + 1)
    return np.stack([is_correct[:, fold == k].mean(axis=1) for k in folds], axis=1)


def estimate_nested(
    family: Sequence[Ridge], x: Floats, y: NDArray[np.int8], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Choose a configuration in each outer fold; return mean and interval of their accuracies."""
    outer = rng.permutation(N_ROWS) % N_OUTER
    scores = mean_by_fold(are_correct(family, x, y, outer), outer)
    chosen = []
    for k in range(N_OUTER):
        train = outer != k
        inner = rng.permutation(train.sum()) % N_SPLITS
        by_fold = mean_by_fold(are_correct(family, x[train], y[train], inner), inner)
        chosen.append(int(by_fold.mean(axis=1).argmax()))
    values = [float(scores[best, k]) for k, best in enumerate(chosen)]
    summary = summarise(values, 1 / (N_OUTER - 1), bounds=(0, 1))
    return summary.mean, *(summary.ci or (summary.mean, summary.mean))


def simulate(name: str, n: int, n_tables: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return bias and coverage of each estimate."""
    rng, rng_nested = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    family = make_family(name, n)
    means, chosen = np.empty((n_tables, n)), np.empty(n_tables, dtype=np.int64)
    estimates = {method: np.empty((n_tables, 3)) for method in COLOURS}
    for table in range(n_tables):
        x, y = draw_table(rng)
        fold = rng.permutation(N_ROWS) % N_SPLITS
        y_pred = (predict(family, x, y, fold) > 0).astype(np.int8)
        by_fold = mean_by_fold((y_pred == y).all(axis=2), fold)
        means[table] = by_fold.mean(axis=1)
        best = chosen[table] = int(means[table].argmax())
        summary = summarise(by_fold[best].tolist(), 1 / (N_SPLITS - 1), bounds=(0, 1))
        assert summary.ci
        estimates["naive"][table] = summary.mean, *summary.ci
        bias = (by_fold.max(axis=0) - by_fold[best]).mean()
        corrected = np.array([summary.mean, *summary.ci]) - bias
        estimates["Tibshirani and Tibshirani"][table] = corrected
        rows = np.arange(N_ROWS)
        ranking = np.argsort(-means[table], kind="stable")
        held_out = [
            HeldOutPredictions(y, one.astype(np.float32), one, rows, rows)
            for one in y_pred[ranking]
        ]
        (expected,) = expected_scores(
            means[table][ranking].tolist(),
            held_out.__getitem__,
            {"accuracy": summary.mean},
            minimize=False,
            zero_division=0.0,
        )
        estimates["bootstrap"][table] = expected.mean, *expected.ci
        estimates["nested"][table] = estimate_nested(family, x, y, rng_nested)
    true = means.mean(axis=0)[chosen]
    return {
        method: (
            float((values[:, 0] - true).mean()),
            float(((values[:, 1] <= true) & (true <= values[:, 2])).mean()),
        )
        for method, values in estimates.items()
    }


def main(paths: Sequence[str]) -> None:
    """Print bias and coverage, and draw them into a file if one is given."""
    results = {}
    for name in TITLES:
        for n in N_CONFIGURATIONS:
            results[name, n] = simulate(name, n, N_TABLES)
            for method, (bias, coverage) in results[name, n].items():
                print(
                    f"{name:9} {n:4} {method:26} bias {bias:+.4f}  coverage {coverage:.3f}",
                    flush=True,
                )
    if paths:
        draw(results).savefig(Path(paths[0]), dpi=110)


def draw(results: dict[tuple[str, int], dict[str, tuple[float, float]]]) -> Figure:
    """Draw bias and coverage against the number of configurations, a column for each family."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, len(TITLES), sharex=True, sharey="row")
    for column, name in enumerate(TITLES):
        for method, colour in COLOURS.items():
            for row in range(2):
                values = [results[name, n][method][row] for n in N_CONFIGURATIONS]
                axes[row, column].plot(N_CONFIGURATIONS, values, "o-", color=colour, label=method)
        axes[0, column].set_title(TITLES[name])
        axes[0, column].axhline(0, color="black", linewidth=0.8)
        axes[1, column].axhline(0.95, color="black", linewidth=0.8)
        axes[1, column].set(xscale="log", xlabel="configurations")
        axes[1, column].set_xticks(N_CONFIGURATIONS, [str(n) for n in N_CONFIGURATIONS])
    axes[0, 0].set_ylabel("bias of the accuracy")
    axes[1, 0].set_ylabel("coverage of the 95% interval")
    lines, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    return figure


if __name__ == "__main__":
    main(sys.argv[1:])
