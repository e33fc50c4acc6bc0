"""Describe the training rows of a final model, to score new rows and to notice their drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DatasetConfig, ScoringConfig, TableConfig
from pipeline.dataset import Dataset
from pipeline.preprocessing import Column

QUANTILES = np.linspace(0, 1, 11)


def describe_training(
    dataset: Dataset,
    rows: NDArray[np.int64],
    y_pred: NDArray[np.int8],
    config: DatasetConfig,
    scoring: ScoringConfig,
) -> dict[str, Any]:
    """Return what a model carries about its training rows, as JSON types.

    Args:
        dataset: The data set.
        rows: Training rows of the final model.
        y_pred: Predicted labels of held-out rows, of shape (n, n_labels).
        config: Configuration of the data set: how to read another file like it.
        scoring: The metrics of the run.

    Returns:
        `n_rows`; for each feature in `columns`, the number of missing values, and either the counts
        of its categories or range, mean, and the counts of its values between the deciles (each
        with its upper edge, the first also with its lower one); `label_rates` and
        `predicted_label_rates`; `reading` and `scoring`.
    """
    X = dataset.X[rows]
    columns = {
        column.name: _describe_column(column, X[:, j])
        for j, column in enumerate(dataset.schema.columns)
    }
    return {
        "n_rows": len(rows),
        "columns": columns,
        "label_rates": _rates(dataset.label_names, dataset.y[rows]),
        "predicted_label_rates": _rates(dataset.label_names, y_pred),
        "reading": describe_reading(config),
        "scoring": {
            "metrics": list(scoring.metrics),
            "zero_division": scoring.zero_division,
            "greater_is_better": dict(scoring.greater_is_better),
        },
    }


def describe_reading(config: DatasetConfig) -> dict[str, Any]:
    """Return the settings that reading another file like the training file needs."""
    if not isinstance(config, TableConfig):
        return {}
    names = ("separator", "encoding", "header", "id_column", "label_list_column", "label_separator")
    return {name: getattr(config, name) for name in names}


def _describe_column(column: Column, values: NDArray[np.float32]) -> dict[str, Any]:
    present = values[~np.isnan(values)]
    n_missing = {"missing": len(values) - len(present)}
    if column.kind == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(column.categories))
        return {**n_missing, "counts": counts.tolist()}
    if not len(present):
        return n_missing
    numbers = present.astype(np.float64) + column.offset
    edges = np.unique(np.quantile(numbers, QUANTILES, method="inverted_cdf"))
    # A bin includes its upper edge, so that a value of many rows is in one bin.
    bins = np.searchsorted(edges[1:-1], numbers, side="left")
    return {
        **n_missing,
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "mean": float(numbers.mean()),
        "edges": edges.tolist(),
        "counts": np.bincount(bins, minlength=max(1, len(edges) - 1)).tolist(),
    }


def _rates(names: Sequence[str], y: NDArray[np.int8]) -> dict[str, float]:
    return dict(zip(names, y.mean(axis=0).tolist(), strict=True))
