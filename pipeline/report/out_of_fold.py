"""Out-of-fold predictions: the held-out rows of all folds in one table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.fold_results import Evaluation


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold predictions, one row for each row of each fold's test set.

    Attributes:
        name: Name of the data set.
        label_names: Names of the labels.
        y_true: Indicator matrix of shape (n_predictions, n_labels).
        y_score: Finite probabilities of the same shape.
        y_pred: Predicted labels of the same shape.
        rows: Row of the data set of each prediction, of shape (n_predictions,); in repeated
            cross-validation, each row occurs several times.
        mask: True where the label is known, of the shape of `y_true`; None if all are.
        scope: What the rows have in common, as the end of `description`.
    """

    name: str
    label_names: tuple[str, ...]
    y_true: NDArray[np.int8]
    y_score: NDArray[np.float32]
    y_pred: NDArray[np.int8]
    rows: NDArray[np.int64]
    mask: NDArray[np.bool_] | None = None
    scope: str = ""

    @property
    def n_rows(self) -> int:
        """Number of distinct rows."""
        return int(np.count_nonzero(np.bincount(self.rows)))

    @property
    def description(self) -> str:
        """Number of predictions and rows, as text."""
        n = len(self.y_true)
        text = f"{n:,} predictions of {self.n_rows:,} held-out rows"
        if n == self.n_rows:
            text = f"{n:,} held-out rows"
        text += self.scope
        return text if self.mask is None else f"{text}, {self.mask.mean():.1%} of labels known"

    def complete_rows(self) -> "OutOfFold":
        """Return the predictions of rows in which every label is known."""
        if self.mask is None:
            return self
        keep = self.mask.all(axis=1)
        tables = (self.y_true[keep], self.y_score[keep], self.y_pred[keep], self.rows[keep])
        return OutOfFold(self.name, self.label_names, *tables, scope=" with every label known")


def collect_out_of_fold(evaluation: Evaluation) -> OutOfFold:
    """Concatenate the test rows of all folds, without rows whose probabilities are not finite.

    Labels that no training row of a fold knows count as not known in its test rows.
    """
    dataset, folds = evaluation.dataset, evaluation.folds
    y_true, mask, _ = evaluation.held_out_targets()
    rows = np.concatenate([fold.split.test for fold in folds])
    y_score = np.concatenate([fold.y_score for fold in folds])
    y_pred = np.concatenate([fold.y_pred for fold in folds])
    is_finite = np.isfinite(y_score).all(axis=1)
    if not is_finite.all():
        rows, y_score, y_pred = rows[is_finite], y_score[is_finite], y_pred[is_finite]
        y_true, mask = y_true[is_finite], None if mask is None else mask[is_finite]
    if mask is not None:
        y_true = y_true * mask
    return OutOfFold(
        dataset.name,
        dataset.label_names,
        y_true,
        y_score,
        y_pred,
        rows,
        mask,
    )
