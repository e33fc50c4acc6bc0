"""Choose other thresholds for a final model, without training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecisionConfig, ScoringConfig
from pipeline.config.schema import InnerCvConfig
from pipeline.decision import check_threshold_metric
from pipeline.decision.tuning import tune_thresholds
from pipeline.errors import UserError, locate
from pipeline.model.loaded_model import choose_thresholds
from pipeline.scoring import metric_title
from pipeline.scoring.held_out import StoredPredictions

METRIC_OPTION = "--threshold-metric"
MAX_SHOWN = 5  # thresholds in a sentence

TuningKind = Literal["per_label", "global"]


@dataclass(frozen=True, eq=False)
class ChosenThresholds:
    """Thresholds of the labels of a model, and how they were chosen.

    Attributes:
        label_names: Names of the labels.
        values: Threshold of each label, of shape (n_labels,).
        metric: Metric that they were tuned for on held-out predictions; None if given by the user.
        kind: Whether each label was tuned, or one threshold for all.
    """

    label_names: tuple[str, ...]
    values: NDArray[np.float64]
    metric: str | None = None
    kind: TuningKind = "per_label"

    def describe(self) -> str:
        """Say how the thresholds were chosen, and what they are."""
        if (self.values == self.values[0]).all():
            text = f"{self.values[0]:g} for all labels"
        else:
            pairs = zip(self.label_names, self.values, strict=True)
            named = [f"{label} {value:g}" for label, value in pairs]
            more = f" and {len(named) - MAX_SHOWN} more" if len(named) > MAX_SHOWN else ""
            text = f"{', '.join(named[:MAX_SHOWN])}{more}"
        if self.metric is None:
            return f"Thresholds given by the user: {text}."
        return (
            f"Thresholds tuned for {metric_title(self.metric)} on the held-out predictions of all "
            f"folds: {text}."
        )


def parse_thresholds(
    label_names: Sequence[str], values: NDArray[np.float64], texts: Sequence[str]
) -> NDArray[np.float64]:
    """Return the threshold of each label, of shape (n_labels,).

    Args:
        label_names: Names of the labels.
        values: Thresholds of the model, which the other labels keep.
        texts: `0.3` for all labels, `LABEL=0.3` for one.

    Raises:
        UserError: If one is no number from 0 to 1, or there is no such label.
    """
    for_all, by_label = None, {}
    for text in texts:
        label, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError as error:
            raise UserError(
                f"--threshold: expected a number, or LABEL=NUMBER. Received: {text!r}."
            ) from error
        if equals:
            by_label[label] = value
        else:
            for_all = value
    try:
        return choose_thresholds(label_names, values, for_all, by_label)
    except ValueError as error:
        raise locate("--threshold", error) from error


def tuning_kind(params: Mapping[str, str]) -> TuningKind:
    """Return how thresholds of a run with these params are tuned again."""
    return "global" if params.get("decision.threshold") == "global" else "per_label"


def tune_again(
    held_out: StoredPredictions,
    metric: str,
    scoring: ScoringConfig,
    kind: TuningKind = "per_label",
    rows: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Tune the thresholds of a run's labels for a metric, on its held-out predictions.

    Args:
        held_out: The predictions.
        metric: Metric to optimize.
        scoring: The direction of own metrics, and the value of 0 / 0.
        kind: As `decision.threshold`.
        rows: Which of the predictions to use, of shape (n,); None for all.

    Returns:
        Thresholds of shape (n_labels,).

    Raises:
        UserError: If the metric does not exist, or does not depend on thresholds.
    """
    unused = InnerCvConfig(n_splits=1, validation_fraction=0.5)
    decision = DecisionConfig(
        threshold=kind, threshold_metric=metric, calibration=None, inner_cv=unused
    )
    try:
        check_threshold_metric(decision, scoring)
    except UserError as error:
        raise UserError(str(error).replace("decision.threshold_metric", METRIC_OPTION)) from error
    used: NDArray[np.bool_] = np.asarray(np.isfinite(held_out.y_score).all(axis=1))
    if rows is not None:
        used &= rows
    y_true, y_score = held_out.y_true[used], held_out.y_score[used]
    return tune_thresholds(decision, y_true, y_score, scoring, *held_out.targets(used))
