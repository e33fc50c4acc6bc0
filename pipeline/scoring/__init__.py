"""Thresholds and metrics: what out-of-fold probabilities are worth. Pure NumPy."""

from pipeline.scoring.fold import FoldScores, apply_threshold, label_scores, score
from pipeline.scoring.registry import (
    explain,
    find_metric,
    in_words,
    refuse_unknown_metrics,
    short_name,
)
from pipeline.scoring.summary import Summary, summarise

__all__ = [
    "FoldScores",
    "Summary",
    "apply_threshold",
    "explain",
    "find_metric",
    "in_words",
    "label_scores",
    "refuse_unknown_metrics",
    "score",
    "short_name",
    "summarise",
]
