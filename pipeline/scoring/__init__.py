"""Thresholds and metrics: what out-of-fold probabilities are worth. Pure NumPy."""

from pipeline.scoring.fold import FoldScores, apply_threshold, label_scores, score
from pipeline.scoring.registry import (
    find_metric,
    in_words,
    lower_is_better,
    refuse_unknown_metrics,
    short_name,
)
from pipeline.scoring.summary import Summary, corrected_error, summarise

__all__ = [
    "FoldScores",
    "Summary",
    "apply_threshold",
    "corrected_error",
    "find_metric",
    "in_words",
    "label_scores",
    "lower_is_better",
    "refuse_unknown_metrics",
    "score",
    "short_name",
    "summarise",
]
