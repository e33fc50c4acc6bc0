"""The scores of one fold: probabilities, decisions, metrics, and what had to be left out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoringConfig
from pipeline.errors import UserError
from pipeline.scoring.arrays import Labels, Scores
from pipeline.scoring.decisions import Counts
from pipeline.scoring.ranking import label_average_precision, label_roc_auc
from pipeline.scoring.registry import find_metric, short_name


@dataclass(frozen=True)
class FoldScores:
    """What the metrics say of one fold.

    Attributes:
        values: Each metric by name; NaN where undefined.
        left_out: By name of a macro metric, how many labels its mean does without, because it is
            undefined for them; only where there are some, and others remain.
    """

    values: dict[str, float]
    left_out: dict[str, int]


def apply_threshold(y_score: Scores, threshold: float) -> Labels:
    """Return 1 where the probability is above the threshold; at 0.5, what rounding gives."""
    return (y_score > threshold).astype(np.int8)


def score(config: ScoringConfig, y_true: Labels, y_score: Scores) -> FoldScores:
    """Return each metric of the configuration for one fold.

    Args:
        config: Threshold and metrics.
        y_true: Indicator matrix of shape (n_test, n_labels).
        y_score: Probabilities of the same shape.

    Raises:
        UserError: If the training diverged, or a metric of the user's own raises or returns what
            is not a number.
        ValueError: If the shapes differ.
    """
    if y_true.shape != y_score.shape:
        raise ValueError(f"Expected equal shapes. Received: {y_true.shape} and {y_score.shape}")
    _refuse_diverged(y_score)
    y_pred = apply_threshold(y_score, config.threshold)
    values = {
        short_name(name): find_metric(name, config.zero_division)(y_true, y_score, y_pred)
        for name in config.metrics
    }
    defined = {name for name, value in values.items() if np.isfinite(value)}
    left_out = {name: n for name, n in _n_undefined(y_true).items() if n and name in defined}
    return FoldScores(values, left_out)


def label_scores(
    config: ScoringConfig, y_true: Labels, y_score: Scores, y_pred: Labels
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of each label alone, by name; each array is of shape (n_labels,).

    ROC-AUC is NaN for a label that is always or never present, average precision for one that is
    never present; precision, recall and F1 count `zero_division` for 0 / 0.
    """
    counts = Counts.of(y_true, y_pred, "macro")
    return {
        "support": counts.true.astype(np.float64),
        "precision": counts.precision(config.zero_division),
        "recall": counts.recall(config.zero_division),
        "f1": counts.f1(config.zero_division),
        "roc_auc": label_roc_auc(y_true, y_score),
        "average_precision": label_average_precision(y_true, y_score),
    }


def _n_undefined(y_true: Labels) -> dict[str, int]:
    never, always = ~y_true.any(axis=0), y_true.all(axis=0)
    return {
        "roc_auc_macro": int((never | always).sum()),
        "average_precision_macro": int(never.sum()),
    }


def _refuse_diverged(y_score: Scores) -> None:
    broken = ~np.isfinite(y_score).all(axis=1)
    if broken.any():
        raise UserError(
            f"Expected probabilities. Received: NaN for {broken.sum()} of {len(y_score)} held-out "
            "rows: the training of a fold diverged. Lower training.learning_rate, put features on "
            "one scale (preparation=standard), or limit the gradients "
            "('training.optimizer_options={clipnorm: 1.0}')."
        )
