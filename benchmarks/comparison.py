"""How often a test finds a difference between two learners where there is none.

A comparison draws a fresh table, cross-validates two learners on the same folds, and tests the
difference of their subset accuracies. Every feature tells as much of the labels as any other; one
learner sees the first half of them, the other the second half, so that neither is better and every
difference that is found is false. Both are ridge regressions on the labels as -1 and 1, which have
closed forms. The naive test is SciPy's paired t test, which takes folds for independent
experiments.

`python -m benchmarks.comparison FILE` draws the figure of docs/comparing.md there, too.
"""

import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy import stats

from pipeline.scoring.statistics import paired_test

N_ROWS, N_FEATURES, N_LABELS = 200, 10, 3  # features of each learner
N_SPLITS = 10
N_REPEATS = (1, 2, 3, 5, 10, 20, 30)
N_COMPARISONS = 1000
TEST_SHARE = 1 / (N_SPLITS - 1)  # n_test / n_train
LEVEL = 0.05
SHOWN = 3  # repeats, as of conf/cv/repeated_kfold.yaml
HANDICAP = 0.3
TESTS = (("paired t test over folds", "#D55E00", "s"), ("corrected resampled t", "#0072B2", "o"))

Floats = NDArray[np.float64]


def advantages(rng: np.random.Generator, n_repeats: int, handicap: float = 0.0) -> Floats:
    """Return by how much the first learner is better in each fold, of shape (n_folds,).

    Args:
        rng: Draws the table and the folds.
        n_repeats: Of the cross-validation.
        handicap: By what share the second learner's features tell less; 0 for no difference.
    """
    halves = rng.normal(size=(2, N_ROWS, N_FEATURES))
    weights = rng.normal(size=(N_FEATURES, N_LABELS))
    told = halves[0] @ weights + (1 - handicap) * halves[1] @ weights
    y = np.where(told + rng.normal(size=told.shape) > 0, 1.0, -1.0)
    order = np.stack([rng.permutation(N_ROWS) for _ in range(n_repeats)])
    tests = order.reshape(n_repeats * N_SPLITS, N_ROWS // N_SPLITS)
    first, second = (_accuracies(half, y, tests) for half in halves)
    return first - second


def _accuracies(X: Floats, y: Floats, tests: NDArray[np.int64]) -> Floats:
    """Return the subset accuracy on each fold's test rows of a ridge fitted to all others."""
    held_out, truth = X[tests], y[tests]
    transposed = held_out.transpose(0, 2, 1)
    gram = X.T @ X + np.eye(X.shape[1]) - transposed @ held_out
    weights = np.linalg.solve(gram, X.T @ y - transposed @ truth)
    return np.asarray(((held_out @ weights > 0) == (truth > 0)).all(axis=2).mean(axis=1))


def p_values(differences: Floats) -> tuple[float, float]:
    """Return p by the naive and by the corrected test."""
    naive = float(stats.ttest_1samp(differences, 0).pvalue)
    return naive, paired_test(differences, TEST_SHARE, alpha=LEVEL, rope=0.01).p


def simulate(seed: int, n_repeats: int, handicap: float = 0.0) -> Floats:
    """Return p by both tests for each of many comparisons, of shape (N_COMPARISONS, 2)."""
    rng = np.random.default_rng(seed)
    found = [p_values(advantages(rng, n_repeats, handicap)) for _ in range(N_COMPARISONS)]
    return np.array(found)


def draw(by_repeats: dict[int, Floats]) -> Figure:
    """Return false findings by level, and by how often the cross-validation is repeated."""
    figure = Figure(figsize=(10, 4.2), dpi=130, layout="constrained")
    by_level, by_repeat = figure.subplots(1, 2)
    levels = np.linspace(0, 0.2, 201)
    rates = {n: (p < LEVEL).mean(axis=0) for n, p in by_repeats.items()}
    for test, (name, colour, marker) in enumerate(TESTS):
        p, rate = by_repeats[SHOWN][:, test], rates[SHOWN][test]
        line = {"color": colour, "linewidth": 2}
        by_level.plot(levels, (p[:, None] < levels).mean(axis=0), **line)
        label = f"{name}: {rate:.1%} at {LEVEL:.0%}"
        by_level.plot(LEVEL, rate, marker=marker, label=label, **line)
        found = [rate[test] for rate in rates.values()]
        by_repeat.plot(list(rates), found, marker=marker, **line)
    by_level.plot(levels, levels, ":", color="#555555", label="what the level promises")
    by_repeat.axhline(LEVEL, linestyle=":", color="#555555")
    by_level.set(xlabel="level of the test", ylabel="comparisons called different", xlim=(0, 0.2))
    by_level.set_xticks([0, 0.05, 0.1, 0.15, 0.2])
    by_level.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    by_level.set_title(f"{N_SPLITS} folds, repeated {SHOWN} times", loc="left", fontsize=11)
    by_repeat.set(xlabel="times the cross-validation is repeated", xscale="log")
    by_repeat.set_xticks(list(rates), [str(n) for n in rates])
    by_repeat.minorticks_off()
    by_repeat.set_title(f"at the {LEVEL:.0%} level", loc="left", fontsize=11)
    by_level.legend(frameon=False, loc="upper left")
    for axes in (by_level, by_repeat):
        axes.set_ylim(0, 0.8)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    title = f"Two equally good learners, {N_COMPARISONS:,} fresh tables: every finding is false"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def main() -> None:
    began = time.perf_counter()
    by_repeats = {n: simulate(0, n) for n in N_REPEATS}
    print(f"{N_COMPARISONS:,} comparisons of equal learners, {N_SPLITS} folds, level {LEVEL:.0%}:")
    for n, p in by_repeats.items():
        naive, corrected = (p < LEVEL).mean(axis=0)
        print(f"  repeated {n:2} times: naive {naive:6.1%}, corrected {corrected:5.1%} rejected")
    naive, corrected = (simulate(0, SHOWN, HANDICAP) < LEVEL).mean(axis=0)
    print(
        f"of unequal learners (the second's features tell {HANDICAP:.0%} less), repeated {SHOWN} "
        f"times: naive {naive:.1%}, corrected {corrected:.1%} found"
    )
    print(f"{time.perf_counter() - began:.0f} s")
    if len(sys.argv) > 1:
        draw(by_repeats).savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
