"""Choose other thresholds for a final model, and score its decisions at them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.promotion import Contender
from pipeline.comparison.run_scores import to_run_scores
from pipeline.config import ScoringConfig
from pipeline.errors import UserError
from pipeline.prediction import (
    ChosenThresholds,
    parse_thresholds,
    tune_again,
    tuning_kind,
)
from pipeline.scoring import DECISION_METRICS, find_metric, own_directions
from pipeline.scoring.held_out import StoredPredictions
from pipeline.tracking import RunRecord, read_held_out
from pipeline.tracking.final_models import FinalModel, read_thresholds


def to_contender(run: RunRecord, thresholds: ChosenThresholds | None) -> Contender:
    """Return the final model of a run, with its scores at other thresholds if it has others."""
    if thresholds is None:
        return Contender(run)
    try:
        held_out = _read(run.run_id)
        return Contender(run, thresholds, rescore(held_out, thresholds, scoring_of(run)))
    except UserError as error:
        return Contender(run, thresholds, reason=str(error))


@lru_cache(maxsize=2)  # the challenger's and the champion's
def _read(run_id: str) -> StoredPredictions:
    return read_held_out(run_id)


def scoring_of(run: RunRecord) -> ScoringConfig:
    """Return the metrics of a run, from its settings.

    Raises:
        UserError: If the run was not logged by Manyfold.
    """
    scores = to_run_scores(run)
    return ScoringConfig(
        metrics=scores.metrics,
        zero_division=scores.zero_division,
        greater_is_better=own_directions(scores.settings),
        weighted=scores.settings.get("scoring.weighted") == "True",
    )


def choose_new_thresholds(
    model: FinalModel, texts: Sequence[str], metric: str | None
) -> ChosenThresholds | None:
    """Return other thresholds for a final model, or None if none are requested.

    Args:
        model: The model.
        texts: As of `parse_thresholds`.
        metric: Metric to tune all thresholds for, on the held-out predictions of the run.

    Raises:
        UserError: If one is invalid, or the run has no held-out predictions to tune them on.
    """
    if not metric and not texts:
        return None
    present = read_thresholds(model.model_id)
    labels = present.label_names
    if not metric:
        return replace(present, values=parse_thresholds(labels, present.values, texts))
    if texts:
        raise UserError(
            "--threshold-metric: expected no --threshold beside it, as it tunes all thresholds. "
            f"Received: --threshold {texts[0]}."
        )
    kind = tuning_kind(model.run.params)
    held_out = _read(model.run.run_id)
    values = tune_again(held_out, metric, scoring_of(model.run), kind)
    return ChosenThresholds(labels, values, metric, kind)


def predicted_rates(run: RunRecord, thresholds: ChosenThresholds) -> dict[str, float] | None:
    """Return how often each label is predicted for held-out rows; None if the run has none."""
    try:
        y_score = _read(run.run_id).y_score
    except UserError:
        return None
    rates = np.asarray(y_score > thresholds.values).mean(axis=0).tolist()
    return dict(zip(thresholds.label_names, rates, strict=True))


def rescore(
    held_out: StoredPredictions, thresholds: ChosenThresholds, scoring: ScoringConfig
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of each fold at other thresholds, by each metric that depends on them.

    Thresholds that were tuned on all held-out predictions would score themselves. So they are tuned
    again for each fold, on the predictions of the other folds of the repeat, as a run with tuned
    thresholds would not see its test rows either.

    Args:
        held_out: Held-out predictions of the run.
        thresholds: The thresholds.
        scoring: Metrics of the run; the user's own are left out.

    Returns:
        Arrays of shape (n_folds,), by the name of the metric.

    Raises:
        UserError: If the thresholds were tuned and there is but one fold.
    """
    metrics = {
        name: find_metric(name, scoring.zero_division)
        for name in scoring.metrics
        if name in DECISION_METRICS
    }
    scores: dict[str, list[float]] = {name: [] for name in metrics}
    for fold in np.unique(held_out.fold, axis=0):
        rows = (held_out.fold == fold).all(axis=1)
        values = thresholds.values
        if thresholds.metric:
            others = _other_rows(held_out, rows)
            values = tune_again(held_out, thresholds.metric, scoring, thresholds.kind, others)
        y_true, y_score = held_out.y_true[rows], held_out.y_score[rows]
        y_pred = (y_score > values).astype(np.int8)
        for name, metric in metrics.items():
            scores[name].append(metric(y_true, y_score, y_pred, *held_out.targets(rows)))
    return {name: np.array(values) for name, values in scores.items()}


def _other_rows(held_out: StoredPredictions, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which predictions are of other folds: of the repeat, else of any, of other rows."""
    repeat = held_out.fold[:, 0]
    others: NDArray[np.bool_] = (repeat == repeat[rows][0]) & ~rows
    if not others.any():
        others = ~np.isin(held_out.row, held_out.row[rows])
    if not others.any():
        raise UserError(
            "Expected held-out predictions of several folds, as thresholds that were tuned on "
            "those of one would score themselves. Received: one fold."
        )
    return others
