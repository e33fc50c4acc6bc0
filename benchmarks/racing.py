"""Simulate searches with racing: mistakes, fits saved, and how optimistic the best score is.

A search evaluates its trials one after another. The incumbent is the trial with the best mean over
all folds among those that ran to their end; each trial is tested against it after the first repeat,
on the same folds. Scores follow the model of the corrected resampled t test: those of one
configuration are normal and equally correlated, those of two are independent. Only differences
count, so an effect that all configurations share, such as a hard fold, changes nothing.

If all configurations are equally good, every stop is a mistake. For the fits saved, the expected
scores are normal, with a standard deviation in units of that of the differences between two
configurations from fold to fold.

The rules: the test that takes the incumbent for fixed; the test of `pipeline.evaluation.racing`,
which allows for its being the best of all trials; and Optuna's `WilcoxonPruner`, after each fold or
after the first repeat, at the highest of its thresholds with at most 5% mistakes in a search.

The last part searches with the ridge regressions of benchmarks/comparison.py, each on other
features out of equally informative ones.

`python -m benchmarks.racing FILE` also draws the figure of docs/search.md.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy.optimize import brentq

from benchmarks.comparison import N_FEATURES, N_LABELS, N_ROWS, _accuracies
from pipeline.evaluation.racing import p_behind_best

ALPHA = 0.05
N_SEARCHES = 1000
N_TRIALS = (5, 10, 20, 30, 60)
FOLDS = ((10, 3), (5, 2), (3, 5))  # folds, repeats
SPREADS = (0.5, 1.0, 2.0)
DISTANCES = (0, 0.25, 0.5, 1, 1.5, 2, 3)
N_DATASETS, N_CONFIGURATIONS, N_FRESH = 150, 30, 4000  # of the ridge regressions
COLOURS = {"without the allowance for luck": "#D55E00", "racing": "#0072B2"}

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Rule = Callable[[Floats, int], Ints]
"""Maps differences to the incumbent, of shape (n, n_folds), and the number of previous trials to
the number of folds after which each trial is stopped; `n_folds` if it is not."""


@cache
def critical_value(n_splits: int, n_repeats: int, n_candidates: int) -> float:
    """Return the t statistic below which racing stops a trial."""
    q = 1 / (n_splits - 1)
    correlation = (q + 1 / (n_splits * n_repeats)) / (2 * (q + 1 / n_splits))

    def excess(t: float) -> float:
        return p_behind_best(t, n_splits - 1, n_candidates, correlation) - ALPHA

    return float(brentq(excess, -1000, 0))


def t_test(n_splits: int, adjusts: bool, differences: Floats, n_previous: int) -> Ints:
    """Stop after the first repeat by the corrected resampled t test."""
    n_folds, first = differences.shape[1], differences[:, :n_splits]
    error = np.sqrt(first.var(axis=1, ddof=1) * (1 / n_splits + 1 / (n_splits - 1)))
    n_candidates = n_previous if adjusts else 1
    threshold = critical_value(n_splits, n_folds // n_splits, n_candidates)
    return np.where(first.mean(axis=1) / error < threshold, n_splits, n_folds)


def wilcoxon(looks: Sequence[int], p: float, differences: Floats, n_previous: int) -> Ints:
    """Stop after the first of these numbers of folds at which the signed-rank test rejects."""
    n_folds = differences.shape[1]
    stopped_after = np.full(len(differences), n_folds)
    for n in sorted(looks, reverse=True):
        ranks = np.abs(differences[:, :n]).argsort(axis=1).argsort(axis=1) + 1
        statistic = (ranks * (differences[:, :n] > 0)).sum(axis=1)
        stopped_after[_signed_rank_cdf(n)[statistic] < p] = n
    return stopped_after


@cache
def _signed_rank_cdf(n: int) -> Floats:
    """Return the probability of each rank sum or a lower one, if differences are symmetric."""
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    return np.asarray(counts.cumsum() / 2**n)


def simulate_scores(
    rng: np.random.Generator,
    n_trials: int,
    n_folds: int,
    correlation: float,
    spread: float = 0.0,
    n_searches: int = N_SEARCHES,
) -> Floats:
    """Return scores of shape (n_searches, n_trials, n_folds)."""
    shape = (n_searches, n_trials)
    scores = np.sqrt(1 - correlation) * rng.normal(size=(*shape, n_folds))
    quality = spread * np.sqrt(2 * (1 - correlation)) * rng.normal(size=(*shape, 1))
    return np.asarray(scores + np.sqrt(correlation) * rng.normal(size=(*shape, 1)) + quality)


def search(scores: Floats, rule: Rule) -> Ints:
    """Return the number of folds that each trial trains, of shape (n_searches, n_trials)."""
    n_searches, n_trials, n_folds = scores.shape
    every, means = np.arange(n_searches), scores.mean(axis=2)
    trained = np.full((n_searches, n_trials), n_folds)
    for trial in range(1, n_trials):
        is_complete = trained[:, :trial] == n_folds
        incumbent = np.where(is_complete, means[:, :trial], -np.inf).argmax(axis=1)
        trained[:, trial] = rule(scores[:, trial] - scores[every, incumbent], trial)
    return trained


def stop_rates(trained: Ints, n_folds: int) -> Floats:
    """Return the fraction of searches that stop each trial but the first."""
    return np.asarray((trained[:, 1:] < n_folds).mean(axis=0))


def rules(n_splits: int) -> dict[str, Rule]:
    """Return the t tests by name."""
    tests = zip(COLOURS, (False, True), strict=True)
    return {name: partial(t_test, n_splits, adjusts) for name, adjusts in tests}


def print_mistakes() -> None:
    """Print the rate of mistakes at the last trials of searches of several lengths."""
    print(f"stopped trials, all equally good ({N_SEARCHES:,} searches; mean of the last 4 trials)")
    print(f"  {'folds':7} correlation  {'rule':30}" + "".join(f"{n:4} trials" for n in N_TRIALS))
    for n_splits, n_repeats in FOLDS:
        for correlation in (0.0, 0.5 / n_splits, 1 / n_splits, 2 / n_splits):
            n_folds, rng = n_splits * n_repeats, np.random.default_rng(0)
            scores = simulate_scores(rng, max(N_TRIALS), n_folds, correlation)
            for name, rule in rules(n_splits).items():
                rates = stop_rates(search(scores, rule), n_folds)
                last = "".join(f"{rates[max(0, n - 5) : n - 1].mean():11.1%}" for n in N_TRIALS)
                print(f"  {n_splits:2} x {n_repeats}  {correlation:11.3f}  {name:30}{last}")


def print_savings(n_splits: int = 10, n_repeats: int = 3, n_trials: int = 30) -> None:
    """Print mistakes and fits saved by each rule, in searches of the default number of trials."""
    n_folds, rng = n_splits * n_repeats, np.random.default_rng(1)
    equal = simulate_scores(rng, n_trials, n_folds, 1 / n_splits)
    unequal = [simulate_scores(rng, n_trials, n_folds, 1 / n_splits, it) for it in SPREADS]
    all_rules = rules(n_splits)
    looks = {"after each fold": range(3, n_folds), "after a repeat": (n_splits,)}
    for name, numbers in looks.items():
        for p in 2.0 ** -np.arange(4, 30):
            rule: Rule = partial(wilcoxon, numbers, p)
            if stop_rates(search(equal, rule), n_folds).mean() <= ALPHA:
                all_rules[f"Wilcoxon {name}, p < {p:.1g}"] = rule
                break
    print(f"{n_trials} trials, {n_splits} folds x {n_repeats}: mistakes, and fits saved by spread")
    for name, rule in all_rules.items():
        mistakes = stop_rates(search(equal, rule), n_folds).mean()
        saved = [1 - search(scores, rule).mean() / n_folds for scores in unequal]
        by_spread = zip(SPREADS, saved, strict=True)
        columns = "".join(f"{fraction:8.1%} at {it}" for it, fraction in by_spread)
        print(f"  {name:38} {mistakes:5.1%} {columns}")


def print_power() -> dict[int, Floats]:
    """Print and return the probability to stop a trial by its distance to the best and its number.

    All previous trials but one are clearly worse, so that the incumbent is the best in truth.
    """
    n_splits, n_repeats, rng = 10, 3, np.random.default_rng(2)
    scores = simulate_scores(rng, 2, n_splits * n_repeats, 1 / n_splits)
    unit = np.sqrt(2 * (1 - 1 / n_splits))
    by_trial = {}
    print(f"stopped after {n_splits} folds by distance to the best: {DISTANCES}")
    for trial in (2, *N_TRIALS):
        differences = scores[:, 0] - scores[:, 1]
        by_trial[trial] = np.array(
            [
                (t_test(n_splits, True, differences - it * unit, trial - 1) == n_splits).mean()
                for it in DISTANCES
            ]
        )
        print(f"  trial {trial:2}  " + "  ".join(f"{rate:6.1%}" for rate in by_trial[trial]))
    return by_trial


def ridge_searches() -> None:
    """Print mistakes among ridge regressions, and how optimistic the score of the best one is."""
    rng = np.random.default_rng(3)
    n_splits, n_repeats, n_pool = 10, 3, 6 * N_FEATURES
    scores, optimism = [], []
    for _ in range(N_DATASETS):
        X = rng.normal(size=(N_ROWS + N_FRESH, n_pool))
        signal = X @ rng.normal(size=(n_pool, N_LABELS)) / np.sqrt(6)
        y = np.where(signal + rng.normal(size=signal.shape) > 0, 1.0, -1.0)
        chosen = [rng.permutation(n_pool)[:N_FEATURES] for _ in range(N_CONFIGURATIONS)]
        own, fresh = np.arange(N_ROWS), np.arange(N_ROWS, len(X))
        permutations = [[rng.permutation(N_ROWS) for _ in range(n_repeats)] for _ in range(2)]
        folds = [np.reshape(it, (n_splits * n_repeats, -1)) for it in permutations]
        by_fold, again = (
            np.array([_accuracies(X[own][:, it], y[own], fold) for it in chosen]) for fold in folds
        )
        best = by_fold.mean(axis=1).argmax()
        selected = X[:, chosen[best]]
        gram = selected[own].T @ selected[own] + np.eye(N_FEATURES)
        weights = np.linalg.solve(gram, selected[own].T @ y[own])
        truth = ((selected[fresh] @ weights > 0) == (y[fresh] > 0)).all(axis=1).mean()
        scores.append(by_fold)
        optimism.append((by_fold[best].mean() - truth, again[best].mean() - truth))
    for name, rule in rules(n_splits).items():
        rates = stop_rates(search(np.array(scores), rule), n_splits * n_repeats)
        print(f"  {N_CONFIGURATIONS} ridge regressions: {name} stops {rates.mean():.1%}")
    same, other = np.mean(optimism, axis=0)
    error = np.std(optimism, axis=0) / np.sqrt(N_DATASETS)
    print(
        f"  accuracy of the best above that on fresh rows: {same:.3f} +- {error[0]:.3f} on the "
        f"folds that chose it, {other:.3f} +- {error[1]:.3f} on other folds of the same rows"
    )


def draw(by_trial: dict[int, Floats]) -> Figure:
    """Draw the rate of mistakes by trial, and the probability to stop worse trials."""
    figure = Figure(figsize=(10, 4.2), dpi=130, layout="constrained")
    mistakes, power = figure.subplots(1, 2)
    n_splits, n_repeats = FOLDS[0]
    n_folds, n_trials = n_splits * n_repeats, max(N_TRIALS)
    scores = simulate_scores(np.random.default_rng(0), n_trials, n_folds, 1 / n_splits)
    for name, rule in rules(n_splits).items():
        rates = stop_rates(search(scores, rule), n_folds)
        mistakes.plot(range(2, n_trials + 1), rates, color=COLOURS[name], linewidth=2, label=name)
    mistakes.axhline(ALPHA, linestyle=":", color="#555555", label="racing.alpha")
    mistakes.set(xlabel="trial of the search", ylabel="stopped", ylim=(0, 0.4))
    mistakes.set_title("trials that are as good as the others", loc="left", fontsize=11)
    mistakes.legend(frameon=False, loc="upper left")
    greys = np.linspace(0.75, 0, len(by_trial))
    for (trial, rates), colour in zip(by_trial.items(), greys, strict=True):
        power.plot(DISTANCES, rates, color=str(colour), linewidth=2, label=f"trial {trial}")
    power.set(xlabel="distance to the best, in standard deviations of the differences", ylim=(0, 1))
    power.set_title("trials that are worse", loc="left", fontsize=11)
    power.legend(frameon=False, loc="lower right")
    for axes in (mistakes, power):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    figure.suptitle(
        f"Racing after {n_splits} of {n_folds} folds, {N_SEARCHES:,} searches", x=0.01, ha="left"
    )
    return figure


def main() -> None:
    """Print all rates and draw the figure."""
    started = time.perf_counter()
    print_mistakes()
    print_savings()
    by_trial = print_power()
    ridge_searches()
    print(f"{time.perf_counter() - started:.0f} s")
    if len(sys.argv) > 1:
        draw(by_trial).savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
