"""Preprocessing of batches inside the compiled program, with the statistics of each fold."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.preprocessing import NO_COLUMN, Preprocessor


class Prepare(NamedTuple):
    """Preprocessing of a stack; every tensor has the slots as its first axis.

    Attributes:
        fill: Replacements of missing numbers, of shape (n_slots, n_parts, n_numeric), with the
            parts of `shared_table`.
        center: Subtracted from each number, of shape (n_slots, n_parts, n_numeric).
        scale: Divides each centered number, of shape (n_slots, n_numeric).
        indicators: Numeric features with a missing-value indicator, of shape
            (n_slots, n_indicators).
        columns: One-hot column of each category, all features concatenated, of shape
            (n_slots, n_categories).
        column_features: Categorical feature of each one-hot column, of shape
            (n_slots, n_category_columns).
    """

    fill: tf.Tensor
    center: tf.Tensor
    scale: tf.Tensor
    indicators: tf.Tensor
    columns: tf.Tensor
    column_features: tf.Tensor


class Layout(NamedTuple):
    """Sizes and column indices of the preprocessing, equal for all fits of a stack.

    Attributes:
        numeric: Column indices of the numeric features.
        categorical: Column indices of the categorical features.
        offsets: Position of the first category of each categorical feature in `Prepare.columns`.
        n_indicators: Number of missing-value indicator columns.
        n_category_columns: Number of one-hot columns.
        double: Whether the table holds each number in two parts.
    """

    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    offsets: tuple[int, ...]
    n_indicators: int
    n_category_columns: int
    double: bool

    @property
    def n_columns(self) -> int:
        """Number of columns of the model's input."""
        return len(self.numeric) + self.n_indicators + self.n_category_columns


def shared_table(X: NDArray[np.floating]) -> tf.Tensor:
    """Return the features as float32, of shape (n_samples, n_features), or twice as wide.

    A float64 table is split into two parts, the nearest float32 of each number and the rounding
    error. Centering subtracts from both, so that large numbers such as seconds since 1970 keep
    their precision.
    """
    return tf.constant(np.concatenate(_parts(X), axis=1) if X.dtype == np.float64 else X)


def _parts(values: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    nearest = values.astype(np.float32)
    return nearest, (values - nearest).astype(np.float32)


def layout_of(preprocessor: Preprocessor, *, double: bool = False) -> Layout:
    """Return the layout of a fit's preprocessing; fits of a stack need equal ones."""
    sizes = [len(columns) for columns in preprocessor.columns]
    return Layout(
        numeric=tuple(preprocessor.numeric.tolist()),
        categorical=tuple(preprocessor.categorical.tolist()),
        offsets=tuple(np.cumsum([0, *sizes[:-1]]).tolist()) if sizes else (),
        n_indicators=len(preprocessor.indicators),
        n_category_columns=preprocessor.n_category_columns,
        double=double,
    )


def stacked(preprocessors: Sequence[Preprocessor]) -> Prepare:
    """Stack the preprocessing of several fits with equal layouts as tensors."""

    def stack(name: str, dtype: tf.DType) -> tf.Tensor:
        return tf.constant(np.stack([getattr(p, name) for p in preprocessors]), dtype)

    def in_parts(name: str) -> tf.Tensor:
        return tf.constant(np.stack([_parts(getattr(p, name)) for p in preprocessors]))

    columns = [np.concatenate([[NO_COLUMN], *p.columns])[1:] for p in preprocessors]
    column_features = [_column_features(p) for p in preprocessors]
    return Prepare(
        fill=in_parts("fill"),
        center=in_parts("center"),
        scale=stack("scale", tf.float32),
        indicators=stack("indicators", tf.int32),
        columns=tf.constant(np.stack(columns), tf.int32),
        column_features=tf.constant(np.stack(column_features), tf.int32),
    )


def apply(prepare: Prepare, layout: Layout, x: tf.Tensor) -> tf.Tensor:
    """Return one slot's input of the model for rows of the shared table.

    It is equal to that of `Preprocessor.transform`.
    """
    numeric = tf.constant(layout.numeric, tf.int32)
    is_numeric = not (layout.categorical or layout.double)
    numbers = x if is_numeric else tf.gather(x, numeric, axis=1)
    missing = tf.math.is_nan(numbers)
    numbers = tf.where(missing, prepare.fill[0], numbers) - prepare.center[0]
    if layout.double:
        rounding_errors = tf.gather(x, numeric + x.shape[1] // 2, axis=1)
        numbers += tf.where(missing, prepare.fill[1], rounding_errors) - prepare.center[1]
    numbers /= prepare.scale
    parts = [numbers]
    if layout.n_indicators:
        parts.append(tf.cast(tf.gather(missing, prepare.indicators, axis=1), tf.float32))
    if layout.n_category_columns:
        codes = tf.gather(x, layout.categorical, axis=1)
        is_present = ~tf.math.is_nan(codes)
        index = tf.cast(tf.where(is_present, codes, 0.0), tf.int32) + tf.constant(layout.offsets)
        column = tf.where(is_present, tf.gather(prepare.columns, index), NO_COLUMN)
        # A column is 1 if it is the column of its feature's category.
        feature_column = tf.gather(column, prepare.column_features, axis=1)
        one_hot = feature_column == tf.range(layout.n_category_columns)
        parts.append(tf.cast(one_hot, tf.float32))
    return tf.concat(parts, axis=1) if len(parts) > 1 else numbers


def _column_features(preprocessor: Preprocessor) -> NDArray[np.int64]:
    """Return the categorical feature of each one-hot column."""
    features = np.zeros(preprocessor.n_category_columns, dtype=np.int64)
    for feature, columns in enumerate(preprocessor.columns):
        features[columns[columns != NO_COLUMN]] = feature
    return features
