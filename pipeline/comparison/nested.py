"""Nested cross-validation of a sweep: its choice of a configuration, repeated in each outer fold.

In each outer fold, the configuration that is the best on folds of the training rows is chosen. Its
score on the test rows, which had no part in that, estimates without bias what choosing and training
on as many rows achieve. Jobs log both for their configuration, so nothing is trained here.

References:
    Varma and Simon, Bias in Error Estimation When Using Cross-validation for Model Selection,
    BMC Bioinformatics 7, 2006.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from pipeline.comparison.entries import Configuration
from pipeline.comparison.leaderboard import Leaderboard
from pipeline.comparison.run_scores import to_run_scores
from pipeline.errors import mask
from pipeline.scoring import MetricSummary, metric_range, short_name, summarise, summary_key
from pipeline.scoring.held_out import INNER, OUTER_FOLDS
from pipeline.tracking import TrackedRun
from pipeline.tracking.artifact_reader import open_artifact

N_REQUESTS = 16  # to the store at a time

Row = Mapping[str, Any]  # of the table: one outer fold


@dataclass(frozen=True)
class OuterSelection:
    """The configuration that is chosen in one outer fold.

    Attributes:
        repeat: Repeat of the outer fold.
        fold: Its number in the repeat.
        configuration: The configuration.
        inner_score: Score on folds of the training rows, by which it is chosen.
        scores: Its scores on the test rows by metric; NaN where undefined.
        test_fraction: Number of test rows divided by that of training rows.
    """

    repeat: int
    fold: int
    configuration: Configuration
    inner_score: float
    scores: Mapping[str, float]
    test_fraction: float


@dataclass(frozen=True)
class NestedScores:
    """Scores of the configurations that a sweep chooses in its outer folds.

    Attributes:
        selections: The choice in each outer fold in which a configuration has a score.
        summary: Summary of each metric over these folds, that of the leaderboard first.
        final: The configuration that the folds of all rows choose, the leaderboard's first.
        n_folds: Number of outer folds.
        note: Reason why there are no scores, or which jobs were left out; may be empty.
    """

    selections: tuple[OuterSelection, ...] = ()
    summary: Mapping[str, MetricSummary] = field(default_factory=dict)
    final: Configuration | None = None
    n_folds: int = 0
    note: str = ""

    @property
    def counts(self) -> list[tuple[Configuration, int]]:
        """Number of outer folds that choose each configuration, the most frequent first."""
        chosen = [selection.configuration for selection in self.selections]
        by_run = {one.entries[0].run_id: one for one in chosen}
        if self.final:
            by_run[self.final.entries[0].run_id] = self.final
        n_times = Counter(one.entries[0].run_id for one in chosen)
        counts = [(one, n_times[run_id]) for run_id, one in by_run.items()]
        return sorted(counts, key=lambda counted: -counted[1])

    def selection_rows(self) -> list[dict[str, Any]]:
        """Return one row for each outer fold, None for undefined scores."""
        return [
            {
                "repeat": selection.repeat,
                "fold": selection.fold,
                "configuration": selection.configuration.name,
                "run_id": selection.configuration.entries[0].run_id,
                "inner_score": selection.inner_score,
                **{name: _defined(score) for name, score in selection.scores.items()},
            }
            for selection in self.selections
        ]

    def metrics(self) -> list[tuple[str, float, int]]:
        """Return name, value and step of the scores in each outer fold and of their summary."""
        of_folds = [
            (f"nested/{name}", score, step)
            for step, selection in enumerate(self.selections)
            for name, score in selection.scores.items()
        ]
        of_all = [
            (f"nested/{summary_key(name, statistic)}", value, 0)
            for name, summary in self.summary.items()
            for statistic, value in summary.as_dict().items()
        ]
        return of_folds + of_all


def score_nested(board: Leaderboard) -> NestedScores | None:
    """Choose a configuration in each outer fold of a sweep; None if its jobs have no outer folds.

    A failure, such as of a store of artifacts, is the note of the result: the leaderboard is worth
    logging without it.

    Args:
        board: The leaderboard of the sweep.
    """
    if board.best is None or not any(entry.nested_digest for entry in board.entries):
        return None
    try:
        return _score(board)
    except Exception as error:
        reason = mask(str(error).strip().partition("\n")[0])
        return NestedScores(note=f"The choices in the outer folds cannot be scored: {reason}")


def _score(board: Leaderboard) -> NestedScores:
    final, first = board.configurations[0], board.configurations[0].entries[0]
    if not first.nested_digest:
        return NestedScores(note="The best configuration has no outer folds (cv.outer_splits).")
    digests = {(first.digests, first.nested_digest)}
    # In the order of the jobs, so that of equally good ones the first job's is chosen.
    comparable = sorted(
        (
            one
            for one in board.configurations
            if {(entry.digests, entry.nested_digest) for entry in one.entries} == digests
        ),
        key=lambda one: one.entries[0].job_number or 0,
    )
    with ThreadPoolExecutor(N_REQUESTS) as pool:
        run_ids = [entry.run_id for one in comparable for entry in one.entries]
        by_run = dict(zip(run_ids, pool.map(read_outer_folds, run_ids), strict=True))
    tables = [[by_run[entry.run_id] for entry in one.entries] for one in comparable]
    n_folds = len(tables[0][0])
    criterion = f"{INNER}{summary_key(board.metric, board.criterion.statistic)}"
    selections = []
    for k in range(n_folds):
        of_fold = [[table[k] for table in seeds] for seeds in tables]
        inner = [_mean(rows, criterion) for rows in of_fold]
        index = _best(inner, minimize=board.criterion.minimize)
        if index is not None:
            selections.append(_select(comparable[index], of_fold[index], inner[index]))
    note = _describe_others(board, len(comparable), n_folds, len(selections))
    return NestedScores(tuple(selections), _summarise(selections, board), final, n_folds, note)


def read_outer_folds(run_id: str) -> list[Row]:
    """Return a run's table of outer folds, one row for each."""
    with open_artifact(run_id, OUTER_FOLDS) as path:
        table = json.loads(path.read_text(encoding="utf-8"))
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def scored_metrics(rows: Sequence[Row]) -> list[str]:
    """Return the names of the metrics in a table of outer folds."""
    suffix = summary_key("", "mean")
    means = [name for name in rows[0] if name.startswith(INNER) and name.endswith(suffix)]
    return [name.removeprefix(INNER).removesuffix(suffix) for name in means]


def _mean(rows: Sequence[Row], column: str) -> float:
    """Return the mean of a column over the seeds of a configuration; NaN if all are undefined."""
    values = [row[column] for row in rows if row.get(column) is not None]
    return fmean(values) if values else math.nan


def _best(scores: Sequence[float], *, minimize: bool) -> int | None:
    """Return the index of the best score, the first of equal ones; None if all are undefined."""
    defined = [index for index, score in enumerate(scores) if math.isfinite(score)]
    sign = 1 if minimize else -1
    return min(defined, key=lambda index: sign * scores[index]) if defined else None


def _select(chosen: Configuration, rows: Sequence[Row], inner_score: float) -> OuterSelection:
    return OuterSelection(
        rows[0]["repeat"],
        rows[0]["fold"],
        chosen,
        inner_score,
        {name: _mean(rows, name) for name in scored_metrics(rows)},
        rows[0]["n_test"] / rows[0]["n_train"],
    )


def _summarise(
    selections: Sequence[OuterSelection], board: Leaderboard
) -> dict[str, MetricSummary]:
    """Summarise the metrics that all chosen configurations have, that of the leaderboard first."""
    if not selections or not board.best:
        return {}
    names = [
        name
        for name in sorted(selections[0].scores, key=lambda name: name != board.metric)
        if all(name in selection.scores for selection in selections)
    ]
    best = to_run_scores(TrackedRun(board.best.run_id).record())
    own = {short_name(name): name for name in best.metrics}
    has_order = best.settings.get("cv.kind") == "time_series"
    test_fraction = fmean(selection.test_fraction for selection in selections)
    return {
        name: summarise(
            [selection.scores[name] for selection in selections],
            test_fraction,
            bounds=metric_range(own.get(name, name)),
            has_order=has_order,
        )
        for name in names
    }


def _describe_others(board: Leaderboard, n_comparable: int, n_folds: int, n_selections: int) -> str:
    """Return sentences about what had no part in the choices; empty for nothing."""
    reasons = {
        "with other outer folds, data or folds": len(board.configurations) - n_comparable,
        "without a result": len(board.entries) - board.n_ranked + board.n_missing,
    }
    listed = [f"{n} {reason}" for reason, n in reasons.items() if n]
    sentences = [f"Never chosen: {', '.join(listed)}."] if listed else []
    if n_selections < n_folds:
        without = f"{n_folds - n_selections} of {n_folds} outer folds"
        sentences.append(f"No configuration has a score in {without}.")
    return " ".join(sentences)


def _defined(score: float) -> float | None:
    return score if math.isfinite(score) else None
