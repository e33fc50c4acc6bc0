"""Choose other thresholds for a final model, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from pipeline.config import DecisionConfig, ScoringConfig
from pipeline.config.schema import InnerCvConfig
from pipeline.decision import check_threshold_metric
from pipeline.decision.tuning import tune_thresholds
from pipeline.errors import UserError, locate
from pipeline.model.loaded_model import LoadedModel

METRIC_OPTION = "--threshold-metric"


def parse_thresholds(model: LoadedModel, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the threshold of each label, of shape (n_labels,).

    Args:
        model: The model, whose thresholds the other labels keep.
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
        return model.thresholds(for_all, by_label)
    except ValueError as error:
        raise locate("--threshold", error) from error


def tune_again(
    predictions: Path,
    label_names: Sequence[str],
    metric: str,
    scoring: ScoringConfig,
    kind: Literal["per_label", "global", "cardinality"] = "per_label",
) -> NDArray[np.float64]:
    """Tune the thresholds of a run's labels for a metric, on its held-out predictions.

    Args:
        predictions: The run's `predictions.parquet`.
        label_names: Names of the labels.
        metric: Metric to optimize.
        scoring: The direction of own metrics, and the value of 0 / 0.
        kind: As `decision.threshold`.

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
    table = pyarrow.parquet.read_table(
        predictions, columns=[f"{it}_{label}" for it in ("true", "score") for label in label_names]
    )
    columns = [column.to_numpy() for column in table.columns]
    y_true = np.column_stack(columns[: len(label_names)]).astype(np.int8)
    y_score = np.column_stack(columns[len(label_names) :])
    is_finite = np.isfinite(y_score).all(axis=1)
    return tune_thresholds(decision, y_true[is_finite], y_score[is_finite], scoring)
