"""Compare a model with the champion that it may replace."""

from dataclasses import dataclass
from typing import Literal

from pipeline.comparison.conclusion import describe_conclusion
from pipeline.comparison.ranking import Ranking, mean_test_fraction, rank_runs
from pipeline.comparison.run_scores import check_paired, choose_metric, to_run_scores
from pipeline.errors import UserError
from pipeline.scoring import (
    MetricSummary,
    describe_metric,
    lower_is_better,
    own_directions,
    short_name,
)
from pipeline.tracking import RunReader, RunRecord

ALPHA = 0.05
ROPE = 0.01


@dataclass(frozen=True)
class Judgement:
    """The comparison of a challenger with the champion.

    Attributes:
        verdict: `better` and `worse` are significant; `open` if neither is shown; `incomparable`
            if their scores cannot be paired.
        reason: The conclusion in a sentence.
    """

    verdict: Literal["better", "worse", "open", "incomparable"]
    reason: str


def judge(
    reader: RunReader, challenger: RunRecord, champion: RunRecord, metric: str | None
) -> Judgement:
    """Test whether a challenger is significantly better or worse than the champion.

    Args:
        reader: Reader of the store of both runs.
        challenger: Run of the challenger.
        champion: Run of the champion.
        metric: Name of the metric; None for the headline of both.

    Raises:
        UserError: If the metric is named and a run lacks it.
    """
    try:
        ranking = _rank(reader, challenger, champion, metric)
    except (UserError, ValueError) as error:
        if metric and str(error).startswith("--metric"):
            raise
        return Judgement("incomparable", f"The scores cannot be paired: {error}")
    (pair,) = ranking.pairs
    reason = describe_conclusion(ranking)
    if not ranking.is_significant(pair):
        return Judgement("open", reason)
    is_better = ranking.names[pair.first] == _name(challenger)
    return Judgement("better" if is_better else "worse", reason)


def describe_scores(run: RunRecord) -> list[str]:
    """Return a line for each metric of a run with its interval, the headline first."""
    try:
        names = [short_name(name) for name in to_run_scores(run).metrics]
    except UserError:  # of another program
        return []
    return [describe_metric(name, MetricSummary.from_metrics(name, run.metrics)) for name in names]


def _rank(
    reader: RunReader, challenger: RunRecord, champion: RunRecord, metric: str | None
) -> Ranking:
    runs = [to_run_scores(record) for record in (challenger, champion)]
    check_paired(runs)
    name = choose_metric(runs, metric)
    sizes = reader.fold_sizes(challenger.run_id)
    return rank_runs(
        {
            _name(record): reader.fold_scores(record.run_id, name, len(sizes))
            for record in (challenger, champion)
        },
        metric=name,
        test_fraction=mean_test_fraction(sizes),
        lower_is_better=lower_is_better(name, own_directions(runs[0].settings)),
        alpha=ALPHA,
        rope=ROPE,
    )


def _name(record: RunRecord) -> str:
    return f"run {record.run_id[:8]}"
