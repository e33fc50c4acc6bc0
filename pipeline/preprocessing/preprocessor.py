"""Imputation, scaling and one-hot encoding, learnt from the training rows of a fold.

The model's input has the imputed and scaled numbers first, then indicator columns of missing
numbers, then one column for each category of the training rows. A missing or unknown category is
all zeros. A feature whose only categories are 0 and 1, as in sparse files, has a column for 1 only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PreprocessingConfig

NO_COLUMN = -1
FLAG_CATEGORIES = {"0", "1"}


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """A map from raw features to the model's input, learnt from training rows.

    Attributes:
        numeric: Column indices of the numeric features, of shape (n_numeric,).
        fill: Imputed value of a missing number, of shape (n_numeric,).
        center: Value subtracted from each number, of shape (n_numeric,).
        scale: Divisor of the difference, of shape (n_numeric,).
        indicators: Indices into `numeric` of the features with an indicator of missing numbers.
        categorical: Column indices of the categorical features, of shape (n_categorical,).
        columns: For each categorical feature, the column of each category among the columns of all
            categories; `NO_COLUMN` for a category that no training row has. Rare categories of a
            feature share a column.
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
        """Number of category columns, rounded up by at most 1/8 with columns of zeros.

        So folds whose rare categories differ still have inputs of the same width, and share a
        compiled program.
        """
        n = 1 + max((int(c.max(initial=NO_COLUMN)) for c in self.columns), default=NO_COLUMN)
        step = 1 << max(n.bit_length() - 4, 0)
        return -(-n // step) * step

    @property
    def n_columns(self) -> int:
        """Width of the model's input."""
        return len(self.numeric) + len(self.indicators) + self.n_category_columns

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the model's input, of shape (n_samples, n_columns).

        Args:
            X: Raw features of shape (n_samples, n_features): numbers, category codes, NaN where
                missing.
        """
        numbers = X[:, self.numeric]
        missing = np.isnan(numbers)
        numbers = (np.where(missing, self.fill, numbers) - self.center) / self.scale
        model_input = np.zeros((len(X), self.n_columns), dtype=np.float32)
        model_input[:, : len(self.numeric)] = numbers
        first = len(self.numeric) + len(self.indicators)
        model_input[:, len(self.numeric) : first] = missing[:, self.indicators]
        for feature, columns in zip(self.categorical, self.columns, strict=True):
            rows = np.flatnonzero(~np.isnan(X[:, feature]))
            column = columns[X[rows, feature].astype(np.int64)]
            has_column = column != NO_COLUMN
            model_input[rows[has_column], first + column[has_column]] = 1
        return model_input


def fit_preprocessor(
    config: PreprocessingConfig,
    X: NDArray[np.floating],
    categories: Sequence[Sequence[str] | None],
    train: NDArray[np.int64],
) -> Preprocessor:
    """Fit a preprocessor on the training rows alone.

    Numbers are imputed before the scaling is learnt, as in scikit-learn's pipeline of
    `SimpleImputer` and `StandardScaler`, `RobustScaler` or `MinMaxScaler`. A feature that is
    missing in all training rows is imputed with 0; a constant feature has scale 1.

    Args:
        config: Kind of imputation, scaling and encoding.
        X: All raw features, of shape (n_samples, n_features).
        categories: Categories of each feature, None if it is numeric; empty if all are numeric.
        train: Row numbers of the training rows.
    """
    is_categorical = np.zeros(X.shape[1], dtype=bool)
    is_categorical[: len(categories)] = [names is not None for names in categories]
    numeric, categorical = np.flatnonzero(~is_categorical), np.flatnonzero(is_categorical)
    numbers = X[np.ix_(train, numeric)] if categories else X[train]
    missing = np.isnan(numbers)
    has_missing = missing.any(axis=0)
    # A complete column needs an imputed value in the final fit only, for rows to predict.
    needs_fill = has_missing | (len(train) == len(X)) | np.isnan(X[:, numeric].max(axis=0))
    fill = _fill(config, numbers, missing, needs_fill)
    if has_missing.any():
        numbers = np.where(missing, fill, numbers)
    center, scale = _center_and_scale(config, numbers)
    indicators = np.flatnonzero(has_missing) if config.add_indicator else np.empty(0, int)
    columns = _category_columns(config, X[np.ix_(train, categorical)], categories, categorical)
    return Preprocessor(numeric, fill, center, scale, indicators, categorical, columns)


def _fill(
    config: PreprocessingConfig,
    numbers: NDArray[np.floating],
    missing: NDArray[np.bool_],
    needs_fill: NDArray[np.bool_],
) -> NDArray[np.float64]:
    fill = np.zeros(numbers.shape[1])
    if config.imputation == "none":
        return np.full_like(fill, np.nan)
    if config.imputation == "constant":
        return np.full_like(fill, config.fill_value)
    statistic = np.median if config.imputation == "median" else np.mean
    for feature in np.flatnonzero(needs_fill):
        present = numbers[~missing[:, feature], feature].astype(np.float64)
        fill[feature] = statistic(present) if len(present) else 0.0
    return fill


def _center_and_scale(
    config: PreprocessingConfig, numbers: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_numeric = numbers.shape[1]
    match config.scaling:
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
    config: PreprocessingConfig,
    codes: NDArray[np.floating],
    categories: Sequence[Sequence[str] | None],
    categorical: NDArray[np.int64],
) -> tuple[NDArray[np.int64], ...]:
    columns, n_used = [], 0
    for feature, values in zip(categorical, codes.T, strict=True):
        names = categories[feature] or ()
        present = values[~np.isnan(values)].astype(np.int64)
        counts = np.bincount(present, minlength=len(names))
        column = np.full(len(names), NO_COLUMN)
        is_flag = set(names) == FLAG_CATEGORIES
        encoded = np.array([name == "1" for name in names]) if is_flag else counts > 0
        frequent = encoded & (is_flag | (counts >= config.min_frequency))
        column[frequent] = n_used + np.arange(frequent.sum())
        n_used += int(frequent.sum())
        rare = encoded & ~frequent
        if rare.any():
            column[rare] = n_used
            n_used += 1
        columns.append(column)
    return tuple(columns)
