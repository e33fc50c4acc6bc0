"""Comparison of finished runs: paired tests, ranking and leaderboard."""

from pipeline.comparison.leaderboard import (
    Criterion,
    Entry,
    Leaderboard,
    Number,
    Status,
    by_column,
    kind_of,
    read_leaderboard,
)
from pipeline.comparison.ranking import MAX_PAIRED, Pair, Ranking, conclusion, of_probability, rank
from pipeline.comparison.run_scores import (
    RunScores,
    averaged,
    best,
    brief_names,
    check_paired,
    choose_metric,
    drop_duplicates,
    to_run_scores,
    with_distinct_names,
)
