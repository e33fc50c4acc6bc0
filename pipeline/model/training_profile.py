"""Describe the training rows of a final model, to score new rows and to notice their drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DatasetConfig, ScoringConfig, TableConfig
from pipeline.dataset import Dataset
from pipeline.matrix_blocks import read_columns
from pipeline.preprocessing import Column

QUANTILES = np.arange(11) / 10


def describe_training(
    dataset: Dataset,
    rows: NDArray[np.integer],
    y_pred: NDArray[np.int8],
    n_held_out: int,
    config: DatasetConfig,
    scoring: ScoringConfig,
) -> dict[str, Any]:
    """Return what a model carries about its training rows, as JSON types.

    Args:
        dataset: The data set.
        rows: Training rows of the final model.
        y_pred: Predicted labels of held-out rows, of shape (n, n_labels).
        n_held_out: Number of distinct rows among them.
        config: Configuration of the data set: how to read another file like it.
        scoring: The metrics of the run.

    Returns:
        `n_rows`; for each feature in `columns`, the number of missing values, and either the counts
        of its categories or range, mean, and the counts of its values between the edges of
        `_make_edges` (see `count_values`); `label_rates` and, of `n_held_out` rows,
        `predicted_label_rates`; `reading` and `scoring`.
    """
    mask = None if dataset.label_mask is None else dataset.label_mask[rows]
    described = [j for j, it in enumerate(dataset.schema.columns) if it.kind != "text"]
    columns = {
        dataset.feature_names[j]: _describe_column(dataset.schema.columns[j], values)
        for j, values in zip(
            described,
            read_columns(dataset.X, rows, np.array(described, dtype=np.int64)),
            strict=True,
        )
    }
    return {
        "n_rows": len(rows),
        "columns": columns,
        "label_rates": _rates(dataset.label_names, dataset.y[rows], mask),
        "predicted_label_rates": _rates(dataset.label_names, y_pred),
        "n_held_out": n_held_out,
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
    names = (
        *("separator", "encoding", "header", "sheet", "quoting", "id_column", "label_list_column"),
        *("label_separator", "true_values", "false_values"),
    )
    return {name: getattr(config, name) for name in names}


def _describe_column(column: Column, values: NDArray[np.float32]) -> dict[str, Any]:
    missing = np.isnan(values)
    present = values[~missing] if missing.any() else values
    n_missing = {"missing": len(values) - len(present)}
    if column.kind == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(column.categories))
        return {**n_missing, "counts": counts.tolist()}
    if not len(present):
        return n_missing
    numbers = present.astype(np.float64) + column.offset
    ordered = np.sort(present).astype(np.float64) + column.offset  # fastest in float32
    edges = _make_edges(ordered)
    return {
        **n_missing,
        "min": float(ordered[0]),
        "max": float(ordered[-1]),
        "mean": float(numbers.mean()),
        "edges": edges.tolist(),
        "counts": _count_sorted(edges, ordered).tolist(),
    }


def count_values(edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of values in each bin between edges, of shape (n_edges - 1,).

    A bin includes its upper edge, so that a value of many rows is in one bin. The first and the
    last bin have no outer edge.
    """
    return _count_sorted(edges, np.sort(numbers))


def _count_sorted(edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    n_up_to = np.searchsorted(numbers, edges[1:], side="right")
    n_up_to[-1] = len(numbers)
    n_up_to[1:] -= n_up_to[:-1]
    return n_up_to


def _make_edges(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the minimum and the upper edges of bins: the deciles of sorted values.

    A value of so many rows that several deciles are equal to it gets a bin of its own.
    """
    last = np.maximum(np.ceil(len(numbers) * QUANTILES - 1), 0)  # as NumPy's inverted_cdf
    deciles = numbers[last.astype(np.int64)]
    repeated = deciles[1:][deciles[1:] == deciles[:-1]]
    starts = np.searchsorted(numbers, repeated)
    below = numbers[starts[starts > 0] - 1]
    return np.append(deciles[0], np.unique(np.append(deciles[1:], below)))


def _rates(
    names: Sequence[str], y: NDArray[np.int8], mask: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Return the fraction of the rows with each label, of those where the mask is true."""
    rates = y.mean(axis=0) if mask is None else y.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    return dict(zip(names, rates.tolist(), strict=True))
