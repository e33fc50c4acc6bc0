"""Comparison of finished runs: paired tests, ranking and leaderboard."""

from pipeline.comparison.conclusion import describe_conclusion, format_probability
from pipeline.comparison.leaderboard import (
    Criterion,
    Entry,
    Leaderboard,
    Statistic,
    Status,
    read_leaderboard,
    to_json_table,
    without_received_value,
)
from pipeline.comparison.notebook_view import Comparison
from pipeline.comparison.paired_runs import rank_paired_runs
from pipeline.comparison.promotion import Judgement, describe_scores, judge
from pipeline.comparison.ranking import MAX_PAIRED, Pair, Ranking, rank_runs
from pipeline.comparison.run_scores import (
    RunScores,
    average_runs,
    check_paired,
    choose_metric,
    drop_duplicates,
    make_names_unique,
    select_best,
    shorten_names,
    to_run_scores,
)
