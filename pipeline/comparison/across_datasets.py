"""Compare configurations over several data sets: ranks, and tests over data sets.

References:
    Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, Journal of Machine
    Learning Research 7, 2006.
    Benavoli, Corani, Mangili, Zaffalon and Ruggeri, A Bayesian Wilcoxon Signed-rank Test Based on
    the Dirichlet Process, ICML 2014.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePath
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from pipeline.comparison.entries import SEED
from pipeline.comparison.run_scores import RunScores
from pipeline.config import affects_scores
from pipeline.errors import UserError
from pipeline.scoring import holm

OF_DATASET = ("dataset.", "cv.")  # prefixes of settings that belong to a data set
N_SAMPLES = 20_000  # of the posterior distribution
PRIOR = 0.5  # weight of the pseudo-observation 0
SEED_OF_POSTERIOR = 0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairOverDatasets:
    """Comparison of two configurations over data sets.

    Attributes:
        first: Index of the configuration with the better mean rank.
        second: Index of the other.
        n_wins: Number of data sets on which the first is better.
        n_losses: Number on which it is worse.
        p_nemenyi: p-value of Nemenyi's test, which is adjusted for all pairs.
        p_wilcoxon: p-value of Wilcoxon's signed-rank test, adjusted by Holm's method.
        better: Posterior probability that the first is better by more than the region of
            practical equivalence on most data sets.
        equivalent: That they are practically equivalent.
        worse: That it is worse.
    """

    first: int
    second: int
    n_wins: int
    n_losses: int
    p_nemenyi: float
    p_wilcoxon: float
    better: float
    equivalent: float
    worse: float


@dataclass(frozen=True, eq=False)
class AcrossDatasets:
    """Scores and ranks of configurations on several data sets.

    Attributes:
        metric: Name of the metric.
        lower_is_better: Whether lower is better.
        alpha: Level of the tests.
        names: Names of the configurations, the best mean rank first.
        datasets: Names of the data sets.
        scores: Mean scores, of shape (n_configurations, n_datasets); NaN where no run has finished.
        ranks: Mean rank of each configuration over the complete data sets.
        complete: Data sets on which every configuration has finished, of shape (n_datasets,).
        p_friedman: p-value of Friedman's test; None for fewer than three configurations.
        critical_difference: Difference of mean ranks that Nemenyi's test finds significant.
        pairs: All pairs.
    """

    metric: str
    lower_is_better: bool
    alpha: float
    names: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: Floats
    ranks: Floats
    complete: NDArray[np.bool_]
    p_friedman: float | None
    critical_difference: float
    pairs: tuple[PairOverDatasets, ...]

    @property
    def n_complete(self) -> int:
        """Number of data sets on which every configuration has finished."""
        return int(self.complete.sum())

    def missing(self) -> list[str]:
        """Return the configurations and data sets without a finished run."""
        return [
            f"{self.names[i]} on {self.datasets[j]}" for i, j in np.argwhere(np.isnan(self.scores))
        ]

    def groups(self) -> list[range]:
        """Return the longest ranges of ranks within the critical difference."""
        groups: list[range] = []
        for start, rank in enumerate(self.ranks):
            stop = int(np.searchsorted(self.ranks, rank + self.critical_difference, side="right"))
            if stop > start + 1 and (not groups or stop > groups[-1].stop):
                groups.append(range(start, stop))
        return groups


def compare_across(
    runs: Sequence[RunScores], metric: str, *, lower_is_better: bool, alpha: float, rope: float
) -> AcrossDatasets:
    """Compare configurations over the data sets of their runs.

    Settings that differ only between data sets belong to the data set; those that differ between
    runs of one data set make a configuration, except for the seed, over which scores are averaged.

    Args:
        runs: Finished runs.
        metric: Short name of the metric.
        lower_is_better: Whether lower is better.
        alpha: Level of the tests.
        rope: Half the width of the region of practical equivalence.

    Raises:
        UserError: If there are fewer than two configurations, or data sets with all of them.
    """
    cells = _group(runs, metric)
    datasets = list(dict.fromkeys(dataset for _, dataset in cells))
    names = list(dict.fromkeys(name for name, _ in cells))
    scores = np.array(
        [[cells.get((name, dataset), np.nan) for dataset in datasets] for name in names]
    )
    complete = np.isfinite(scores).all(axis=0)
    if len(names) < 2 or complete.sum() < 2:
        raise UserError(
            "--across: expected at least two configurations that have finished on the same two "
            f"data sets or more. Received: configurations {', '.join(names[:5])}; data sets "
            f"{', '.join(datasets[:5])}; {int(complete.sum())} with every configuration."
        )
    losses = scores[:, complete] if lower_is_better else -scores[:, complete]
    by_dataset = rankdata(losses.round(12), axis=0)
    ranks = by_dataset.mean(axis=1)
    order = np.argsort(ranks, kind="stable")
    losses, ranks, k, n = losses[order], ranks[order], len(names), int(complete.sum())
    error = np.sqrt(k * (k + 1) / (6 * n))
    return AcrossDatasets(
        metric,
        lower_is_better,
        alpha,
        tuple(names[i] for i in order),
        tuple(datasets),
        scores[order],
        ranks,
        complete,
        float(friedmanchisquare(*losses).pvalue) if k > 2 else None,
        float(studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2) * error),
        _compare_pairs(losses, ranks, error, rope),
    )


def _group(runs: Sequence[RunScores], metric: str) -> dict[tuple[str, str], float]:
    """Return the mean score of each configuration on each data set, by their names."""
    by_data: dict[str, list[RunScores]] = {}
    for run in runs:
        by_data.setdefault(run.data_digest, []).append(run)
    varied = [
        key
        for key in dict.fromkeys(key for run in runs for key in run.settings)
        if key != SEED
        and not key.startswith(OF_DATASET)
        and any(len({it.settings.get(key) for it in group}) > 1 for group in by_data.values())
        and any(affects_scores(key, run.settings.get(key)) for run in runs)
    ]
    configurations: dict[tuple[str, ...], list[RunScores]] = {}
    for run in runs:
        values = tuple(run.settings.get(key, "-") for key in varied)
        configurations.setdefault(values, []).append(run)
    datasets, names = _dataset_names(by_data), _configuration_names(configurations, varied)
    cells: dict[tuple[str, str], list[float]] = {}
    for values, group in configurations.items():
        for run in group:
            cell = (names[values], datasets[run.data_digest])
            cells.setdefault(cell, []).append(run.means.get(metric, np.nan))
    return {cell: fmean(scores) for cell, scores in cells.items()}


def _configuration_names(
    configurations: Mapping[tuple[str, ...], Sequence[RunScores]], keys: Sequence[str]
) -> dict[tuple[str, ...], str]:
    """Return what was typed for each configuration, or else the settings in which it differs."""
    typed = [{_typed_settings(run) for run in runs} for runs in configurations.values()]
    if len(set.union(*typed)) == len(typed) and all(len(names) == 1 for names in typed):
        names = [name for (name,) in typed]
        if all(names):
            return dict(zip(configurations, names, strict=True))
    ends = [key.rpartition(".")[2] for key in keys]
    return {
        values: ", ".join(f"{end}={value}" for end, value in zip(ends, values, strict=True))
        or runs[0].name
        for values, runs in configurations.items()
    }


def _typed_settings(run: RunScores) -> str:
    """Return the settings in the name of a sweep's run, without those of data, folds and seed."""
    parts = [part.partition("=") for part in run.name.split(", ")]
    if not all(separator for _, separator, _ in parts):
        return ""  # another name
    own = [(key, value) for key, _, value in parts if not f"{key}.".startswith(OF_DATASET)]
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in own if key != SEED)


def _dataset_names(by_data: dict[str, list[RunScores]]) -> dict[str, str]:
    names = {}
    for digest, group in by_data.items():
        settings = group[0].settings
        path, kind = settings.get("dataset.path", "None"), settings.get("dataset.kind", "data")
        name = settings.get("dataset.name", "None")
        names[digest] = name if name != "None" else PurePath(path).stem if path != "None" else kind
    counts = list(names.values())
    return {
        digest: name if counts.count(name) == 1 else f"{name} {digest[:6]}"
        for digest, name in names.items()
    }


def _compare_pairs(
    losses: Floats, ranks: Floats, error: float, rope: float
) -> tuple[PairOverDatasets, ...]:
    pairs = list(combinations(range(len(losses)), 2))
    p_wilcoxon = np.array([_wilcoxon(losses[j] - losses[i]) for i, j in pairs])
    adjusted = holm(p_wilcoxon)
    compared = []
    for (i, j), p in zip(pairs, adjusted.tolist(), strict=True):
        advantages = losses[j] - losses[i]
        q = abs(ranks[j] - ranks[i]) / error * np.sqrt(2)
        compared.append(
            PairOverDatasets(
                i,
                j,
                int((advantages > 0).sum()),
                int((advantages < 0).sum()),
                float(studentized_range.sf(q, len(losses), np.inf)),
                p,
                *signed_rank_posterior(advantages, rope),
            )
        )
    return tuple(compared)


def _wilcoxon(advantages: Floats) -> float:
    return float(wilcoxon(advantages).pvalue) if advantages.any() else 1.0


def signed_rank_posterior(advantages: Floats, rope: float) -> tuple[float, float, float]:
    """Return the probabilities that the first is better, equivalent and worse on most data sets.

    The distribution over data sets has a Dirichlet process as its prior, with a pseudo-observation
    of no difference. For each sample of the posterior, the mean of two random data sets is better,
    equivalent or worse with some probability; the largest of the three decides.

    Args:
        advantages: Advantage of the first on each data set.
        rope: Half the width of the region of practical equivalence.
    """
    values = np.concatenate([[0.0], advantages])
    means = (values[:, None] + values[None, :]) / 2
    better, worse = (means > rope).astype(np.float64), (means < -rope).astype(np.float64)
    generator = np.random.default_rng(SEED_OF_POSTERIOR)
    weights = generator.dirichlet([PRIOR, *np.ones(len(advantages))], N_SAMPLES)
    p_better, p_worse = (
        np.einsum("si,ij,sj->s", weights, matrix, weights, optimize=True)
        for matrix in (better, worse)
    )
    winner = np.argmax([1 - p_better - p_worse, p_better, p_worse], axis=0)
    equivalent, first, second = (np.bincount(winner, minlength=3) / N_SAMPLES).tolist()
    return first, equivalent, second
