"""Measure how often a test finds a difference between two learners that are equally good.

Each comparison samples a new data set, cross-validates two learners on the same folds, and tests
the difference of their subset accuracies. All features carry equal information about the labels;
one learner sees the first half of them, the other the second half, so that neither is better and
every significant difference is false. Both are ridge regressions on the labels as -1 and 1, which
have closed forms. The naive test is SciPy's paired t test, which treats folds as independent
experiments.

`python -m benchmarks.comparison FILE` also draws the figure of docs/comparing.md.
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
TEST_FRACTION = 1 / (N_SPLITS - 1)  # n_test / n_train
LEVEL = 0.05
N_REPEATS_SHOWN = 3  # as in conf/cv/repeated_kfold.yaml
HANDICAP = 0.3
TESTS = (("paired t test over folds", "#D55E00", "s"), ("corrected resampled t", "#0072B2", "o"))

Floats = NDArray[np.float64]


def advantages(rng: np.random.Generator, n_repeats: int, handicap: float = 0.0) -> Floats:
    """Return the advantage of the first learner in each fold, of shape (n_folds,).

    Args:
        rng: Random generator of the data set and the folds.
        n_repeats: Number of repeats of the cross-validation.
        handicap: Fraction by which the second learner's features have smaller weights.
    """
    halves = rng.normal(size=(2, N_ROWS, N_FEATURES))
    weights = rng.normal(size=(N_FEATURES, N_LABELS))
    signal = halves[0] @ weights + (1 - handicap) * halves[1] @ weights
    y = np.where(signal + rng.normal(size=signal.shape) > 0, 1.0, -1.0)
    permutations = np.stack([rng.permutation(N_ROWS) for _ in range(n_repeats)])
    tests = permutations.reshape(n_repeats * N_SPLITS, N_ROWS // N_SPLITS)
    first, second = (_accuracies(half, y, tests) for half in halves)
    return first - second


def _accuracies(X: Floats, y: Floats, tests: NDArray[np.int64]) -> Floats:
    """Return the subset accuracy of a ridge regression on the test rows of each fold."""
    held_out, truth = X[tests], y[tests]
    transposed = held_out.transpose(0, 2, 1)
    gram = X.T @ X + np.eye(X.shape[1]) - transposed @ held_out
    weights = np.linalg.solve(gram, X.T @ y - transposed @ truth)
    return np.asarray(((held_out @ weights > 0) == (truth > 0)).all(axis=2).mean(axis=1))


def p_values(differences: Floats) -> tuple[float, float]:
    """Return the p-values of the naive and of the corrected test."""
    naive = float(stats.ttest_1samp(differences, 0).pvalue)
    return naive, paired_test(differences, TEST_FRACTION, alpha=LEVEL, rope=0.01).p


def simulate(seed: int, n_repeats: int, handicap: float = 0.0) -> Floats:
    """Return the p-values of both tests for all comparisons, of shape (N_COMPARISONS, 2)."""
    rng = np.random.default_rng(seed)
    return np.array([p_values(advantages(rng, n_repeats, handicap)) for _ in range(N_COMPARISONS)])


def draw(by_repeats: dict[int, Floats]) -> Figure:
    """Draw the rate of false differences by significance level and by number of repeats."""
    figure = Figure(figsize=(10, 4.2), dpi=130, layout="constrained")
    by_level, by_repeat = figure.subplots(1, 2)
    levels = np.linspace(0, 0.2, 201)
    rates = {n: (p < LEVEL).mean(axis=0) for n, p in by_repeats.items()}
    for test, (name, colour, marker) in enumerate(TESTS):
        p, rate = by_repeats[N_REPEATS_SHOWN][:, test], rates[N_REPEATS_SHOWN][test]
        line = {"color": colour, "linewidth": 2}
        by_level.plot(levels, (p[:, None] < levels).mean(axis=0), **line)
        label = f"{name}: {rate:.1%} at {LEVEL:.0%}"
        by_level.plot(LEVEL, rate, marker=marker, label=label, **line)
        test_rates = [rate[test] for rate in rates.values()]
        by_repeat.plot(list(rates), test_rates, marker=marker, **line)
    by_level.plot(levels, levels, ":", color="#555555", label="nominal level")
    by_repeat.axhline(LEVEL, linestyle=":", color="#555555")
    by_level.set(xlabel="significance level", ylabel="significant differences", xlim=(0, 0.2))
    by_level.set_xticks([0, 0.05, 0.1, 0.15, 0.2])
    by_level.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    by_level.set_title(
        f"{N_SPLITS} folds, repeated {N_REPEATS_SHOWN} times", loc="left", fontsize=11
    )
    by_repeat.set(xlabel="repeats of the cross-validation", xscale="log")
    by_repeat.set_xticks(list(rates), [str(n) for n in rates])
    by_repeat.minorticks_off()
    by_repeat.set_title(f"at the {LEVEL:.0%} level", loc="left", fontsize=11)
    by_level.legend(frameon=False, loc="upper left")
    for axes in (by_level, by_repeat):
        axes.set_ylim(0, 0.8)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    title = (
        f"Two equally good learners on {N_COMPARISONS:,} data sets: "
        "every significant difference is false"
    )
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def main() -> None:
    """Print the rates and draw the figure."""
    started = time.perf_counter()
    by_repeats = {n: simulate(0, n) for n in N_REPEATS}
    print(f"{N_COMPARISONS:,} comparisons of equal learners, {N_SPLITS} folds, level {LEVEL:.0%}:")
    for n, p in by_repeats.items():
        naive, corrected = (p < LEVEL).mean(axis=0)
        print(f"  repeated {n:2} times: naive {naive:6.1%}, corrected {corrected:5.1%} rejected")
    naive, corrected = (simulate(0, N_REPEATS_SHOWN, HANDICAP) < LEVEL).mean(axis=0)
    print(
        f"unequal learners (weights of the second's features {HANDICAP:.0%} smaller), repeated "
        f"{N_REPEATS_SHOWN} times: naive {naive:.1%}, corrected {corrected:.1%} rejected"
    )
    print(f"{time.perf_counter() - started:.0f} s")
    if len(sys.argv) > 1:
        draw(by_repeats).savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
