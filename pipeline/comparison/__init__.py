"""Which configuration is really better: scores by fold in, what may be concluded out."""

from pipeline.comparison.evidence import (
    Evidence,
    averaged,
    best,
    brief_names,
    choose_metric,
    named_apart,
    refuse_unpaired,
    without_repeats,
)
from pipeline.comparison.paired import PairedTest, holm, paired_test
from pipeline.comparison.ranking import Pair, Ranking, rank
from pipeline.comparison.words import conclusion, of_probability

__all__ = [
    "Evidence",
    "Pair",
    "PairedTest",
    "Ranking",
    "averaged",
    "best",
    "brief_names",
    "choose_metric",
    "conclusion",
    "holm",
    "named_apart",
    "of_probability",
    "paired_test",
    "rank",
    "refuse_unpaired",
    "without_repeats",
]
