"""Compare a model with the champion that it may replace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.conclusion import describe_conclusion
from pipeline.comparison.ranking import Ranking, mean_test_fraction, rank_runs
from pipeline.comparison.run_scores import check_paired, choose_metric, to_run_scores
from pipeline.errors import UserError
from pipeline.scoring import (
    DECISION_METRICS,
    MetricSummary,
    describe_metric,
    lower_is_better,
    metric_range,
    own_directions,
    short_name,
    summarise,
)
from pipeline.tracking import RunReader, RunRecord

if TYPE_CHECKING:
    from pipeline.prediction import ChosenThresholds

ALPHA = 0.05
ROPE = 0.01
MAX_SHOWN = 3  # thresholds in a name


@dataclass(frozen=True, eq=False)
class Contender:
    """A final model that is compared with another one.

    Attributes:
        run: Its run.
        thresholds: Thresholds that replace those of the run; None if none do.
        scores: Score of each fold at these thresholds, by each metric that depends on them.
        reason: Reason why there are no such scores; empty if there are.
    """

    run: RunRecord
    thresholds: "ChosenThresholds | None" = None
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    reason: str = ""

    @property
    def name(self) -> str:
        """Name for a sentence."""
        run, thresholds = f"run {self.run.run_id[:8]}", self.thresholds
        if thresholds is None:
            return run
        if thresholds.metric:
            return f"{run} with thresholds tuned for {thresholds.metric}"
        values = [f"{value:g}" for value in dict.fromkeys(thresholds.values.tolist())]
        more = ", ..." if len(values) > MAX_SHOWN else ""
        return f"{run} with thresholds {', '.join(values[:MAX_SHOWN])}{more}"

    def describe_scoring(self) -> str:
        """Say how decisions at other thresholds are scored; empty if there are no others."""
        if self.thresholds is None:
            return ""
        if self.reason:
            return f"Decisions at these thresholds cannot be scored. {self.reason}"
        if self.thresholds.metric is None:
            return (
                "Decisions at these thresholds are scored on the held-out predictions of each "
                "fold. If the thresholds were chosen by such scores, these are optimistic."
            )
        return (
            "Decisions are scored on the held-out predictions of each fold, at thresholds that are "
            "tuned again on the other folds, as those that are tuned on all would score themselves."
        )


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
    reader: RunReader, challenger: Contender, champion: Contender, metric: str | None
) -> Judgement:
    """Test whether a challenger is significantly better or worse than the champion.

    Args:
        reader: Reader of the store of both runs.
        challenger: The challenger.
        champion: The champion.
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
    is_better = ranking.names[pair.first] == _names(challenger, champion)[0]
    return Judgement("better" if is_better else "worse", reason)


def describe_scores(reader: RunReader, contender: Contender) -> list[str]:
    """Return a line for each metric of a model with its interval, the headline first."""
    run = contender.run
    try:
        runs = to_run_scores(run)
    except UserError:  # of another program
        return []
    lines = []
    for full_name in runs.metrics:
        name = short_name(full_name)
        summary = MetricSummary.from_metrics(name, run.metrics)
        if contender.thresholds and full_name in DECISION_METRICS:
            if full_name not in contender.scores:
                continue  # the logged score is that of other decisions
            fraction = mean_test_fraction(reader.fold_sizes(run.run_id), runs.settings)
            scores = contender.scores[full_name].tolist()
            summary = summarise(
                scores, fraction or 0.0, bounds=metric_range(full_name), has_order=fraction is None
            )
        lines.append(describe_metric(name, summary))
    return lines


def _rank(
    reader: RunReader, challenger: Contender, champion: Contender, metric: str | None
) -> Ranking:
    contenders = dict(zip(_names(challenger, champion), (challenger, champion), strict=True))
    runs = [to_run_scores(contender.run) for contender in contenders.values()]
    check_paired(runs)
    name = choose_metric(runs, metric)
    full_name = runs[0].full_name(name) or name
    if full_name not in DECISION_METRICS:
        if "." in full_name and any(contender.thresholds for contender in contenders.values()):
            raise UserError(
                f"Expected a metric whose decisions can be scored at other thresholds. Received: "
                f"{full_name}, the user's own. Name another one with --metric."
            )
        if challenger.run.run_id == champion.run.run_id:
            raise UserError(
                f"Expected a metric that depends on thresholds, as both are models of the same "
                f"run. Received: {name}. Name another one with --metric."
            )
    sizes = reader.fold_sizes(challenger.run.run_id)
    scores = {}
    for key, contender in contenders.items():
        if contender.thresholds and full_name in DECISION_METRICS:
            if full_name not in contender.scores:
                raise UserError(contender.describe_scoring())
            scores[key] = contender.scores[full_name]
        else:
            scores[key] = reader.fold_scores(contender.run.run_id, name, len(sizes))
    return rank_runs(
        scores,
        metric=name,
        test_fraction=mean_test_fraction(sizes, runs[0].settings),
        lower_is_better=lower_is_better(name, own_directions(runs[0].settings)),
        alpha=ALPHA,
        rope=ROPE,
    )


def _names(challenger: Contender, champion: Contender) -> tuple[str, str]:
    """Return different names of both."""
    suffix = " of the champion" if challenger.name == champion.name else ""
    return challenger.name, f"{champion.name}{suffix}"
