"""Build a data set from arrays and data frames of a Python program."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.builder import dataset_from_features_and_labels
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.label_values import DEFAULTS, MASKED
from pipeline.dataset.row_columns import encode_column, read_folds, read_ids, read_weights
from pipeline.dataset.times import array_to_times
from pipeline.errors import UserError

SOURCE = "X and y"


def make_dataset(
    name: str,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    folds: Any = None,
    ids: Any = None,
    times: Any = None,
    sample_weight: Any = None,
    missing_labels: Literal["refuse", "mask"] | None = None,
    text_columns: Sequence[str] | None = None,
) -> Dataset:
    """Build a data set from features and labels.

    Args:
        name: Name of the data set.
        X: Array, data frame or sparse matrix of shape (n_samples, n_features).
        y: Yes and no in any spelling, array or data frame of shape (n_samples, n_labels).
        groups: Group of each row, of shape (n_samples,).
        folds: Number of the fold that tests each row, -1 if it always trains, or the words train
            and test, of shape (n_samples,).
        ids: Unique id of each row, of shape (n_samples,).
        times: Date, duration or number that orders the rows, of shape (n_samples,).
        sample_weight: Weight of each row, at least 0, of shape (n_samples,).
        missing_labels: Reading of missing labels: an error, or as not known (mask).
        text_columns: Names of the columns of a data frame that are free text.

    Raises:
        UserError: If these are not the arrays of a multi-label table.
    """
    label_values = MASKED if missing_labels == "mask" else DEFAULTS
    dataset = dataset_from_features_and_labels(
        name, SOURCE, _to_table(X), _to_table(y), label_values, text_columns or ()
    )
    given = {"groups": groups, "folds": folds, "ids": ids, "sample_weight": sample_weight}
    columns = {
        key: _to_column(key, values, dataset.n_samples)
        for key, values in given.items()
        if values is not None
    }
    if times is not None:
        array = _to_array("times", times, dataset.n_samples)
        dataset = replace(dataset, times=array_to_times(SOURCE, array))
    if not columns:
        return dataset
    table = pa.table(columns)
    codes = None if groups is None else encode_column(SOURCE, "group_column", "groups", table)[0]
    return replace(
        dataset,
        groups=codes,
        fold=None if folds is None else read_folds(SOURCE, "folds", table),
        ids=None if ids is None else read_ids(SOURCE, "ids", table),
        sample_weight=None
        if sample_weight is None
        else read_weights(SOURCE, "sample_weight", table),
    )


def _to_table(values: Any) -> Any:
    """Make an array of anything but frames and sparse matrices, such as lists of rows."""
    is_table = any(hasattr(values, name) for name in ("columns", "to_frame", "toarray"))
    if is_table or hasattr(values, "__arrow_c_stream__") or isinstance(values, np.ndarray):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise UserError(f"{SOURCE}: expected arrays or data frames. Received: {error}") from error


def _to_column(key: str, values: Any, n_samples: int) -> pa.Array:
    return pa.array(_to_array(key, values, n_samples).tolist(), from_pandas=True)


def _to_array(key: str, values: Any, n_samples: int) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(values)
    if array.shape != (n_samples,):
        raise UserError(
            f"{key}: expected one value for each of {n_samples} rows, of shape ({n_samples},). "
            f"Received: an array of shape {array.shape}."
        )
    return array
