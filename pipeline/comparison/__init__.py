"""Comparison of finished runs: paired tests, ranking and leaderboard."""

from pipeline.comparison.best_job import BestJobEstimate, estimate_best_job
from pipeline.comparison.conclusion import NO_TEST, describe_conclusion, format_probability
from pipeline.comparison.entries import SEED, Configuration, Criterion, Entry, Status
from pipeline.comparison.label_differences import (
    LabelDifference,
    compare_stored_labels,
    describe_labels,
)
from pipeline.comparison.leaderboard import (
    Leaderboard,
    read_leaderboard,
    to_json_table,
    without_received_value,
)
from pipeline.comparison.nested import NestedScores, score_nested
from pipeline.comparison.notebook_view import Comparison
from pipeline.comparison.paired_runs import rank_paired_runs
from pipeline.comparison.promotion import Contender, Judgement, describe_scores, judge
from pipeline.comparison.ranking import MAX_PAIRED, Pair, Ranking
from pipeline.comparison.run_scores import (
    RunScores,
    choose_metric,
    drop_duplicates,
    make_names_unique,
    to_run_scores,
)
from pipeline.comparison.selection import ExpectedScore
