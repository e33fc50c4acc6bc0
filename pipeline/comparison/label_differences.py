"""Compare two configurations label by label, paired over folds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from pipeline.comparison.ranking import Ranking, mean_test_fraction
from pipeline.comparison.run_scores import RunScores
from pipeline.errors import UserError
from pipeline.scoring import are_constant, holm, label_scores, paired_test
from pipeline.scoring.held_out import StoredPredictions
from pipeline.tracking import read_held_out

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelDifference:
    """Difference of two configurations on one label.

    Attributes:
        label: Name of the label.
        n_true: Number of rows with the label.
        first: Mean score of the first configuration over the folds in which both are defined; NaN
            if there are none.
        second: That of the second.
        ci: 95% interval of the mean advantage of the first; None without a test.
        p: p-value of the corrected resampled t test; 1 if the difference is the same in all folds.
        p_holm: The p-value adjusted by Holm's method for all labels that at least two folds can
            judge: no false difference.
        p_fdr: That adjusted by Benjamini and Hochberg: few false ones among all significant ones.
        n_folds: Number of folds in which both are defined.
    """

    label: str
    n_true: int
    first: float
    second: float
    ci: tuple[float, float] | None
    p: float
    p_holm: float
    p_fdr: float
    n_folds: int

    @property
    def advantage(self) -> float:
        """Mean advantage of the first configuration."""
        return self.first - self.second


def compare_labels(
    first: Sequence[StoredPredictions],
    second: Sequence[StoredPredictions],
    metric: str,
    zero_division: float,
    *,
    test_fraction: float | None,
    alpha: float,
) -> list[LabelDifference]:
    """Compare two configurations on each label, those with the largest advantage first.

    Args:
        first: Held-out predictions of the first configuration, one for each seed.
        second: Those of the second, of the same folds.
        metric: `f1`, `average_precision` or `roc_auc`.
        zero_division: Value of a score that is 0 / 0.
        test_fraction: Mean of n_test / n_train over folds; None for windows of a time series, which
            are not tested.
        alpha: 1 - the confidence of the intervals.

    Raises:
        UserError: If the predictions are of different labels.
    """
    labels = first[0].label_names
    if second[0].label_names != labels:
        raise UserError("--labels: expected runs with the same labels.")
    scores = [
        np.mean([_fold_scores(one, metric, zero_division) for one in predictions], axis=0)
        for predictions in (first, second)
    ]
    rows = np.unique(first[0].row, return_index=True)[1]
    n_true = first[0].y_true[rows].sum(axis=0, dtype=np.int64)
    differences: list[LabelDifference] = []
    for label, name in enumerate(labels):
        both = np.stack([part[:, label] for part in scores])
        both = both[:, np.isfinite(both).all(axis=0)]
        n_folds = both.shape[1]
        means = both.mean(axis=1).tolist() if n_folds else [np.nan, np.nan]
        advantages, ci, p = both[0] - both[1], None, 1.0
        is_constant = n_folds < 2 or are_constant(advantages, float(np.abs(both).max()))
        if test_fraction is not None and not is_constant:
            test = paired_test(advantages, test_fraction, alpha=alpha, rope=0.0)
            ci, p = test.ci, test.p
        differences.append(
            LabelDifference(name, int(n_true[label]), means[0], means[1], ci, p, p, p, n_folds)
        )
    judged = [it for it in differences if it.n_folds > 1]  # no fold can judge the others
    p_values = np.array([it.p for it in judged])
    adjusted = zip(judged, holm(p_values), false_discovery_control(p_values), strict=True)
    others = [it for it in differences if it.n_folds <= 1]
    return sorted(
        [
            *(
                replace(it, p_holm=float(p_holm), p_fdr=float(p_fdr))
                for it, p_holm, p_fdr in adjusted
            ),
            *others,
        ],
        key=lambda it: (np.isnan(it.advantage), -it.advantage),
    )


def compare_stored_labels(
    ranking: Ranking,
    named: Mapping[str, RunScores],
    metric: str,
    read_sizes: Callable[[str], NDArray[np.int64]],
) -> list[LabelDifference]:
    """Compare the two configurations of a ranking on each label, from their stored predictions.

    Args:
        ranking: The ranking.
        named: The runs by their names in it.
        metric: `f1`, `average_precision` or `roc_auc`.
        read_sizes: Returns n_train and n_test of each fold of a run, given its id.

    Raises:
        UserError: If there are more than two, or a run has not stored its predictions.
    """
    if len(ranking.names) + ranking.n_unranked != 2:
        best, next_best = (named[name].run_ids[0] for name in ranking.names[:2])
        raise UserError(
            "--labels: expected two configurations. Received: "
            f"{len(ranking.names) + ranking.n_unranked}. The best two are: {best} {next_best}"
        )
    first, second = (
        [read_held_out(run_id) for run_id in named[name].run_ids] for name in ranking.names
    )
    run = named[ranking.names[0]]
    return compare_labels(
        first,
        second,
        metric,
        run.zero_division,
        test_fraction=mean_test_fraction(read_sizes(run.run_ids[0]), run.settings),
        alpha=ranking.alpha,
    )


def _fold_scores(predictions: StoredPredictions, metric: str, zero_division: float) -> Floats:
    """Return the score of each label in each fold, of shape (n_folds, n_labels)."""
    folds, of_fold = np.unique(predictions.fold, axis=0, return_inverse=True)
    return np.stack(
        [
            label_scores(
                zero_division,
                predictions.y_true[of_fold == fold],
                predictions.y_score[of_fold == fold],
                predictions.y_pred[of_fold == fold],
                *predictions.targets(of_fold == fold),
            )[metric]
            for fold in range(len(folds))
        ]
    )


def describe_labels(
    differences: Sequence[LabelDifference], first: str, second: str, alpha: float
) -> str:
    """Return a sentence that counts the labels on which the first is better, worse or neither."""
    counts = {"better": 0, "worse": 0, "undecided": 0}
    undefined = sum(it.n_folds == 0 for it in differences)
    for it in differences:
        if it.p_holm < alpha:
            counts["better" if it.advantage > 0 else "worse"] += 1
        elif it.n_folds:
            counts["undecided"] += 1
    n_fdr = sum(it.p_fdr < alpha for it in differences)
    extra = f", undefined on {undefined}" if undefined else ""
    return (
        f'"{first}" against "{second}": better on {counts["better"]}, worse on {counts["worse"]}, '
        f"undecided on {counts['undecided']}{extra} (Holm p < {alpha:g}; {n_fdr} differ at a false "
        f"discovery rate of {alpha:g})."
    )
