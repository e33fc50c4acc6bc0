"""What is learnt from a fold's training rows and done to its features.

A table of raw features (numbers, places of categories, NaN where missing) becomes the model's
input: the numbers, filled in and scaled, then columns that say where one was missing, then one
column for each category that the training rows hold. A missing or unknown category is all zeros; so
is 0 where the only categories are 0 and 1, as in sparse files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PreparationConfig

NO_COLUMN = -1
FLAG = {"0", "1"}


@dataclass(frozen=True, eq=False)
class Preparation:
    """A map from raw features to the model's input, learnt from some rows.

    Attributes:
        numeric: Places of the numeric features, of shape (n_numeric,).
        fill: Stands in for a missing number, of shape (n_numeric,).
        center: Subtracted from each number, of shape (n_numeric,).
        scale: Divides what is left, of shape (n_numeric,).
        indicators: Which of `numeric` have a column that says where they were missing.
        categorical: Places of the categorical features, of shape (n_categorical,).
        columns: For each of those the column of each category among the columns of all categories;
            `NO_COLUMN` for one that the rows did not hold. Pooled categories share a column.
    """

    numeric: NDArray[np.int64]
    fill: NDArray[np.float64]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    indicators: NDArray[np.int64]
    categorical: NDArray[np.int64]
    columns: tuple[NDArray[np.int64], ...]

    @property
    def n_category_columns(self) -> int:
        """Columns that stand for categories; of many, some are spare and always zero.

        Rounded up by an eighth at most, folds whose rare categories differ have inputs of equal
        width nevertheless, and share a program.
        """
        n = 1 + max((int(c.max(initial=NO_COLUMN)) for c in self.columns), default=NO_COLUMN)
        step = 1 << max(n.bit_length() - 4, 0)
        return -(-n // step) * step

    @property
    def n_columns(self) -> int:
        """Width of the model's input."""
        return len(self.numeric) + len(self.indicators) + self.n_category_columns

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the model's input, of shape (n, n_columns).

        Args:
            X: Raw features of shape (n, n_features).
        """
        numbers = X[:, self.numeric]
        missing = np.isnan(numbers)
        numbers = (np.where(missing, self.fill, numbers) - self.center) / self.scale
        prepared = np.zeros((len(X), self.n_columns), dtype=np.float32)
        prepared[:, : len(self.numeric)] = numbers
        first = len(self.numeric) + len(self.indicators)
        prepared[:, len(self.numeric) : first] = missing[:, self.indicators]
        for feature, columns in zip(self.categorical, self.columns, strict=True):
            rows = np.flatnonzero(~np.isnan(X[:, feature]))
            column = columns[X[rows, feature].astype(np.int64)]
            known = column != NO_COLUMN
            prepared[rows[known], first + column[known]] = 1
        return prepared


def fit_preparation(
    config: PreparationConfig,
    X: NDArray[np.floating],
    categories: Sequence[Sequence[str] | None],
    train: NDArray[np.int64],
) -> Preparation:
    """Return the preparation learnt from the training rows alone.

    Numbers are filled in first and scaled by what they are then, as in scikit-learn's pipeline of
    `SimpleImputer` and `StandardScaler`, `RobustScaler` or `MinMaxScaler`. A number that is missing
    in all training rows is filled with 0; one that is constant keeps the scale 1.

    Args:
        config: Which preparation.
        X: All raw features, of shape (n_samples, n_features).
        categories: For each feature its categories, or None where it is numeric; empty if all are.
        train: Row numbers of the training rows.
    """
    is_categorical = np.zeros(X.shape[1], dtype=bool)
    is_categorical[: len(categories)] = [known is not None for known in categories]
    numeric, categorical = np.flatnonzero(~is_categorical), np.flatnonzero(is_categorical)
    numbers = X[np.ix_(train, numeric)] if categories else X[train]
    missing = np.isnan(numbers)
    lacking = missing.any(axis=0)
    # Of a complete column only the final fit needs a stand-in, for rows that are still to come.
    wanted = lacking | (len(train) == len(X)) | np.isnan(X[:, numeric].max(axis=0))
    fill = _fill(config, numbers, missing, wanted)
    if lacking.any():
        numbers = np.where(missing, fill, numbers)
    center, scale = _center_and_scale(config, numbers)
    indicators = np.flatnonzero(lacking) if config.indicators else np.empty(0, int)
    columns = _category_columns(config, X[np.ix_(train, categorical)], categories, categorical)
    return Preparation(numeric, fill, center, scale, indicators, categorical, columns)


def _fill(
    config: PreparationConfig,
    numbers: NDArray[np.floating],
    missing: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
) -> NDArray[np.float64]:
    fill = np.zeros(numbers.shape[1])
    if config.impute == "none":
        return np.full_like(fill, np.nan)
    if config.impute == "constant":
        return np.full_like(fill, config.fill_value)
    statistic = np.median if config.impute == "median" else np.mean
    for feature in np.flatnonzero(wanted):
        present = numbers[~missing[:, feature], feature].astype(np.float64)
        fill[feature] = statistic(present) if len(present) else 0.0
    return fill


def _center_and_scale(
    config: PreparationConfig, numbers: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_numeric = numbers.shape[1]
    match config.numeric:
        case "none":
            return np.zeros(n_numeric), np.ones(n_numeric)
        case "standard":
            center = numbers.mean(axis=0, dtype=np.float64)
            scale = numbers.std(axis=0, dtype=np.float64)
        case "robust":
            quartiles = np.quantile(numbers, [0.25, 0.5, 0.75], axis=0)
            low, center, high = quartiles.astype(np.float64)
            scale = high - low
        case "minmax":
            center = numbers.min(axis=0).astype(np.float64)
            scale = numbers.max(axis=0) - center
    constant = numbers.max(axis=0) == numbers.min(axis=0)
    return center, np.where(constant | (scale == 0), 1.0, scale)


def _category_columns(
    config: PreparationConfig,
    places: NDArray[np.floating],
    categories: Sequence[Sequence[str] | None],
    categorical: NDArray[np.int64],
) -> tuple[NDArray[np.int64], ...]:
    columns, n_used = [], 0
    for feature, values in zip(categorical, places.T, strict=True):
        known = categories[feature] or ()
        present = values[~np.isnan(values)].astype(np.int64)
        counts = np.bincount(present, minlength=len(known))
        column = np.full(len(known), NO_COLUMN)
        flag = set(known) == FLAG
        shown = np.array([category == "1" for category in known]) if flag else counts > 0
        own = shown & (flag | (counts >= config.pool_below))
        column[own] = n_used + np.arange(own.sum())
        n_used += int(own.sum())
        out_of_fold = shown & ~own
        if out_of_fold.any():
            column[out_of_fold] = n_used
            n_used += 1
        columns.append(column)
    return tuple(columns)
