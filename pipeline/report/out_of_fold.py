"""The held-out rows of all folds in one table: what was true, believed and decided of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.evaluator import Evaluation


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold predictions, one row for each row of each fold's test set.

    Attributes:
        name: The data set's.
        label_names: Names of the columns.
        y_true: Indicator matrix of shape (n, n_labels).
        y_score: Probabilities of the same shape, all finite.
        y_pred: Decisions of the same shape.
        n_rows: Distinct rows; fewer than n where the cross-validation is repeated.
    """

    name: str
    label_names: tuple[str, ...]
    y_true: NDArray[np.int8]
    y_score: NDArray[np.float32]
    y_pred: NDArray[np.int8]
    n_rows: int

    @property
    def described(self) -> str:
        """How many predictions these are, in words."""
        n = len(self.y_true)
        if n == self.n_rows:
            return f"{n:,} held-out rows"
        return f"{n:,} predictions of {self.n_rows:,} held-out rows"


def collect_out_of_fold(evaluation: Evaluation) -> OutOfFold:
    """Return the test rows of all folds, without those for which a probability is not finite."""
    dataset, folds = evaluation.dataset, evaluation.folds
    rows = np.concatenate([fold.split.test for fold in folds])
    y_score = np.concatenate([fold.y_score for fold in folds])
    y_pred = np.concatenate([fold.y_pred for fold in folds])
    known = np.isfinite(y_score).all(axis=1)
    if not known.all():
        rows, y_score, y_pred = rows[known], y_score[known], y_pred[known]
    return OutOfFold(
        dataset.name,
        dataset.label_names,
        dataset.y[rows],
        y_score,
        y_pred,
        len(np.unique(rows)),
    )
