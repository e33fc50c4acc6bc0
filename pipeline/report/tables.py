"""Tables of a result: scores of each fold and label, and out-of-fold predictions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import shorten
from pipeline.evaluation.fold_results import Evaluation
from pipeline.scoring import (
    common_decimals,
    format_number,
    label_scores,
    metric_title,
    short_name,
    summary_key,
)
from pipeline.scoring.feature_importance import FeatureImportance
from pipeline.scoring.held_out import INNER, StoredPredictions
from pipeline.scoring.label_review import ids_by_row, review_labels

TRAINING = "training.parquet"
LOSSES = ("loss", "val_loss", "test_loss")
MAX_CELLS = 10  # labels that look wrong, on the page
MAX_ROWS = 5  # rows, and pairs of labels
MAX_NAMES = 80  # characters of a list of labels
MAX_FEATURES = 20  # the most important ones
N_DEPENDENT = 3  # labels named beside a feature
MAY_BE_UNDEFINED = ("roc_auc", "average_precision")  # of a label, in a fold


def folds_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per fold: repeat, fold, sizes, scores, undefined labels and seconds."""
    incomplete = [
        name for name, summary in evaluation.summary.items() if summary.n_undefined_labels
    ]
    return pd.DataFrame(
        [
            {
                "repeat": fold.split.repeat,
                "fold": fold.split.fold,
                "n_train": len(fold.split.train),
                "n_test": len(fold.split.test),
                **fold.scores,
                **{f"{name}_left_out": fold.n_undefined_labels.get(name, 0) for name in incomplete},
                "seconds": round(fold.seconds, 4),
            }
            for fold in evaluation.folds
        ]
    )


def outer_folds_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per outer fold: repeat, fold, sizes and scores on its test rows.

    The columns `inner_*` have mean, deviation and interval of each metric over the folds of its
    training rows.
    """
    return pd.DataFrame(
        [
            {
                "repeat": fold.split.repeat,
                "fold": fold.split.fold,
                "n_train": len(fold.split.train),
                "n_test": len(fold.split.test),
                **fold.scores,
                **{
                    f"{INNER}{summary_key(name, statistic)}": summary.as_dict().get(statistic)
                    for name, summary in fold.inner.items()
                    for statistic in ("mean", "std", "ci_low", "ci_high")
                },
            }
            for fold in evaluation.outer
        ]
    )


def labels_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per label: mean and population standard deviation of its scores over folds.

    The columns `*_base` have the scores of predictions that know nothing, see `base_rates`. A fold
    in which a score is undefined is skipped. For scores that can be undefined, the column
    `*_folds` has the number of remaining folds.
    """
    zero_division, folds = evaluation.config.scoring.zero_division, []
    for fold in evaluation.folds:
        y_true, mask, weights = evaluation.targets(fold.split.test, fold.split.train)
        predictions = (y_true, fold.y_score, fold.y_pred)
        folds.append(label_scores(zero_division, *predictions, mask, weights))
    columns: dict[str, object] = {"label": evaluation.dataset.label_names}
    base = base_rates(evaluation)
    for name in folds[0]:
        values = np.ma.masked_invalid([fold[name] for fold in folds])
        columns[f"{name}_mean"] = values.mean(axis=0).filled(np.nan)
        columns[f"{name}_std"] = values.std(axis=0).filled(np.nan)
        if name in MAY_BE_UNDEFINED:
            columns[f"{name}_folds"] = values.count(axis=0)
        if name in base:
            columns[f"{name}_base"] = base[name]
    return pd.DataFrame({**columns, **_tuned_rules(evaluation)})


def training_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per fold: repeat, fold, losses by epoch, thresholds and temperatures.

    A run stores it, so that figures can be drawn later.
    """
    return pd.DataFrame(
        [
            {
                "repeat": fold.split.repeat,
                "fold": fold.split.fold,
                **{name: np.asarray(getattr(fold, name)) for name in LOSSES},
                "threshold": fold.rule.threshold,
                "temperature": fold.rule.temperature,
            }
            for fold in evaluation.folds
        ]
    )


def base_rates(evaluation: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Return the scores of each label that predictions without any knowledge have, by metric.

    F1, precision and recall are those of always saying yes; ROC AUC and average precision those of
    a random order.
    """
    p = evaluation.dataset.label_rates
    return {
        "f1": 2 * p / (1 + p),
        "precision": p,
        "recall": np.ones_like(p),
        "roc_auc": np.full_like(p, 0.5),
        "average_precision": p,
    }


def _tuned_rules(evaluation: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Return tuned thresholds and temperatures: over folds, and those of the final model."""
    config, columns = evaluation.config.decision, {}
    is_tuned = {
        "threshold": isinstance(config.threshold, str),
        "temperature": config.calibration is not None,
    }
    for name in filter(is_tuned.get, is_tuned):
        values = np.stack([getattr(fold.rule, name) for fold in evaluation.folds])
        columns[f"{name}_mean"], columns[f"{name}_std"] = values.mean(axis=0), values.std(axis=0)
        if evaluation.final:
            columns[f"{name}_final"] = getattr(evaluation.final.rule, name)
    return columns


def feature_importance(evaluation: Evaluation) -> FeatureImportance | None:
    """Return the importance of all features, or None if it was not configured."""
    values = [fold.importance for fold in evaluation.folds if fold.importance is not None]
    if not evaluation.feature_groups:
        return None
    config, names = evaluation.config, evaluation.dataset.feature_names
    return FeatureImportance.of(
        [", ".join(names[column] for column in group) for group in evaluation.feature_groups],
        evaluation.dataset.label_names,
        (short_name(config.scoring.metrics[0]), config.report.importance_metric),
        [f"{fold.split.repeat}-{fold.split.fold}" for fold in evaluation.folds],
        np.stack(values),
    )


def format_importance(importance: FeatureImportance) -> dict[str, Any]:
    """Format the metrics, and a row for each of the most important features."""
    metrics = [metric_title(importance.metrics[target]) for target in (0, 1)]
    mean, std = importance.mean, importance.std
    decimals = common_decimals(zip(mean[:MAX_FEATURES, 0], std[:MAX_FEATURES, 0], strict=True))
    rows = []
    for index, name in enumerate(importance.features[:MAX_FEATURES]):
        deviation = (
            f"± {format_number(std[index, 0], decimals)}" if len(importance.folds) > 1 else ""
        )
        labels = [
            (importance.targets[target], format_number(mean[index, target], decimals))
            for target in importance.most_dependent(index, N_DEPENDENT)
        ]
        rows.append((name, format_number(mean[index, 0], decimals), deviation, labels))
    return {"metrics": metrics, "rows": rows, "n_features": len(importance.features)}


def held_out_predictions(evaluation: Evaluation) -> StoredPredictions:
    """Return the held-out predictions of all folds, as they are stored."""
    dataset, splits = evaluation.dataset, [fold.split for fold in evaluation.folds]
    rows = np.concatenate([split.test for split in splits])
    y_true, mask, weight = evaluation.held_out_targets()
    folds = np.array([(split.repeat, split.fold) for split in splits], dtype=np.int64)
    return StoredPredictions(
        label_names=dataset.label_names,
        fold=np.repeat(folds, [len(split.test) for split in splits], axis=0),
        row=rows,
        ids=None if dataset.ids is None else np.asarray(dataset.ids[rows], dtype=object),
        group=None if dataset.groups is None else dataset.groups[rows],
        y_true=y_true,
        y_score=np.concatenate([fold.y_score for fold in evaluation.folds]),
        y_pred=np.concatenate([fold.y_pred for fold in evaluation.folds]),
        mask=mask,
        weight=weight,
    )


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per test row of each fold: repeat, fold, row, id, time, group, label values.

    The values are `true_*`, missing where they are not known, the probabilities `score_*` and the
    predicted labels `pred_*`. Weights of rows are there if metrics are weighted.
    """
    stored, times = held_out_predictions(evaluation), evaluation.dataset.times
    labels, y_true = stored.label_names, [*stored.y_true.T]
    if stored.mask is not None:
        pairs = zip(stored.y_true.T, stored.mask.T, strict=True)
        y_true = [pd.arrays.IntegerArray(column.copy(), ~mask) for column, mask in pairs]
    return pd.DataFrame(
        {
            "repeat": stored.fold[:, 0],
            "fold": stored.fold[:, 1],
            "row": stored.row,
            **({} if stored.ids is None else {"id": stored.ids}),
            **({} if times is None else {"time": times[stored.row]}),
            **({} if stored.group is None else {"group": stored.group}),
            **({} if stored.weight is None else {"weight": stored.weight}),
            **{f"true_{label}": y_true[i] for i, label in enumerate(labels)},
            **{f"score_{label}": stored.y_score[:, i] for i, label in enumerate(labels)},
            **{f"pred_{label}": stored.y_pred[:, i] for i, label in enumerate(labels)},
        }
    )


class ReviewTable(NamedTuple):
    """The first lines of a list of what should be looked at.

    Attributes:
        title: Heading.
        columns: Names of the columns.
        lines: Texts.
    """

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]


def review_tables(evaluation: Evaluation) -> list[ReviewTable]:
    """Return the labels and rows that look most wrong, and the labels that are most confused."""
    predictions = held_out_predictions(evaluation)
    review = review_labels(predictions, MAX_CELLS)
    ids = ids_by_row(predictions, review)
    cells = [
        (ids[cell.row], cell.label, "yes" if cell.given else "no", f"{cell.probability:.3f}")
        for cell in review.cells
    ]
    pairs = [(pair.true, pair.predicted, f"{pair.n_rows}") for pair in review.pairs[:MAX_ROWS]]
    hardest, unlabelled = (
        [
            (ids[row.row], f"{row.loss:.3f}", _list_labels(row.given), _list_labels(row.predicted))
            for row in rows[:MAX_ROWS]
        ]
        for rows in (review.rows, review.unlabelled)
    )
    of_rows = ("row", "loss", "given", "predicted")
    tables = (
        ReviewTable("Labels that look wrong", ("row", "label", "given", "probability"), cells),
        ReviewTable("Hardest rows", of_rows, hardest),
        ReviewTable("Rows without a label that look labelled", of_rows, unlabelled),
        ReviewTable("Confused labels", ("true, but missed", "predicted, but wrong", "rows"), pairs),
    )
    return [table for table in tables if table.lines]


def _list_labels(names: Sequence[str]) -> str:
    return shorten(", ".join(names), MAX_NAMES) or "none"
