"""Comparison of finished runs: paired tests, ranking and leaderboard."""

from pipeline.comparison.leaderboard import (
    Criterion,
    Entry,
    Leaderboard,
    Number,
    Status,
    by_column,
    kind_of,
)
from pipeline.comparison.ranking import MAX_PAIRED, Pair, Ranking, conclusion, of_probability, rank
from pipeline.comparison.run_scores import (
    Evidence,
    averaged,
    best,
    brief_names,
    choose_metric,
    named_apart,
    refuse_unpaired,
    without_repeats,
)
