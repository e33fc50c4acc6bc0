"""Thresholds and metrics: what out-of-fold probabilities are worth. Pure NumPy and SciPy."""

from pipeline.scoring.fold import FoldScores, label_scores, refuse_diverged, score
from pipeline.scoring.registry import (
    explain,
    find_metric,
    in_words,
    lower_is_better,
    refuse_unknown_metrics,
    short_name,
)
from pipeline.scoring.rule import DecisionRule, fixed_rule, learn_rule, needs_inner
from pipeline.scoring.summary import Summary, corrected_error, summarise

__all__ = [
    "DecisionRule",
    "FoldScores",
    "Summary",
    "corrected_error",
    "explain",
    "find_metric",
    "fixed_rule",
    "in_words",
    "label_scores",
    "learn_rule",
    "lower_is_better",
    "needs_inner",
    "refuse_diverged",
    "refuse_unknown_metrics",
    "score",
    "short_name",
    "summarise",
]
