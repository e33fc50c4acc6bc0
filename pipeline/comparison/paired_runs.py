"""Rank runs on the same folds by a metric that all of them have."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.averaging import average_runs, has_several_seeds
from pipeline.comparison.entries import SEED
from pipeline.comparison.ranking import Ranking, mean_test_fraction, rank_runs
from pipeline.comparison.run_scores import (
    RunScores,
    check_paired,
    choose_metric,
    select_best,
    shorten_names,
)
from pipeline.errors import UserError
from pipeline.scoring import lower_is_better, own_directions


def rank_paired_runs(
    runs: Sequence[RunScores],
    read_sizes: Callable[[str], NDArray[np.int64]],
    read_scores: Callable[[str, str, int], NDArray[np.float64]],
    *,
    metric: str | None,
    average: str | None,
    alpha: float,
    rope: float,
) -> tuple[Ranking, dict[str, RunScores]]:
    """Rank runs, and test every pair of the best ones.

    Args:
        runs: Runs with different names.
        read_sizes: Returns n_train and n_test of each fold of a run, given its id.
        read_scores: Returns the scores of a run, given its id, the metric and the number of folds.
        metric: Metric to compare; None for the headline.
        average: Setting over which to average runs that differ only in it; None for the seed if
            some of several configurations have more than one; empty for none.
        alpha: Family-wise error rate.
        rope: Half the width of the region of practical equivalence.

    Returns:
        The ranking, and the ranked runs by their names in it, best first.

    Raises:
        UserError: If the runs cannot be compared.
    """
    check_paired(runs)
    if average is None and has_several_seeds(runs):
        average = SEED
    runs = average_runs(runs, average) if average else runs
    metric = choose_metric(runs, metric)
    best = select_best(runs, metric)
    named = dict(zip(shorten_names(best), best, strict=True))
    sizes = read_sizes(best[0].run_ids[0])
    scores = {
        name: np.mean([read_scores(run_id, metric, len(sizes)) for run_id in one.run_ids], axis=0)
        for name, one in named.items()
    }
    try:
        ranking = rank_runs(
            scores,
            metric=metric,
            test_fraction=mean_test_fraction(sizes, best[0].settings),
            lower_is_better=lower_is_better(metric, own_directions(best[0].settings)),
            alpha=alpha,
            rope=rope,
            n_unranked=len(runs) - len(best),
        )
    except ValueError as error:  # too few folds
        raise UserError(f"{error} A single split cannot be compared.") from error
    return ranking, named
