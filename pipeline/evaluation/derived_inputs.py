"""Append the columns that are derived from dates to the matrix of a data set."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PreprocessingConfig
from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.derived_columns import DAYS, PARTS, DateParts


def derive_columns(config: PreprocessingConfig, dataset: Dataset) -> Dataset:
    """Return a data set with derived columns in its matrix and its schema, if there are any.

    Raises:
        UserError: If the chosen parts of dates leave no feature.
    """
    derived = tuple(
        parts
        for column in dataset.schema.columns
        if (parts := _date_parts(config, column, dataset)) is not None
    )
    if not derived:
        return dataset
    if all(it.replaces_source and not it.names for it in derived) and len(derived) == (
        dataset.n_features
    ):
        raise UserError(
            "preprocessing.datetime: expected a part of dates that differs between rows. Received: "
            f"{', '.join(config.datetime)}. Give preprocessing.datetime=[days]"
        )
    schema = replace(dataset.schema, derived=derived)
    return replace(dataset, X=schema.append_derived(dataset.X, dataset.exact), schema=schema)


def _date_parts(config: PreprocessingConfig, column: Column, dataset: Dataset) -> DateParts | None:
    """Return the parts of a column of dates or times that are not constant; None for a number."""
    if column.kind not in ("datetime", "time") or not config.datetime:
        return None
    if column.kind == "time" and "hour" not in config.datetime:
        return None
    requested = config.datetime if column.kind == "datetime" else ("hour",)
    seconds = dataset.exact[column.name]
    return DateParts(
        column.name,
        tuple(part for part in requested if part == DAYS or _differs(part, seconds)),
    )


def _differs(part: str, seconds: NDArray[np.float64]) -> bool:
    values = PARTS[part][0](seconds)
    return bool(np.fmin.reduce(values) < np.fmax.reduce(values))
