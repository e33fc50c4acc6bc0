"""Preparation inside the compiled program: each fold's own, on batches of the shared table."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.preprocessing import NO_COLUMN, Preparation


class Prepare(NamedTuple):
    """The preparations of a stack; every tensor has the stack as its first axis.

    Attributes:
        fill: Of shape (stack, parts, n_numeric); parts as in `shared_table`.
        center: Of shape (stack, parts, n_numeric).
        scale: Of shape (stack, n_numeric).
        indicators: Of shape (stack, n_indicators).
        columns: The column of each category, features laid end to end, of shape
            (stack, total number of categories).
        owners: The categorical feature that each of those columns belongs to, of shape
            (stack, n_category_columns).
    """

    fill: tf.Tensor
    center: tf.Tensor
    scale: tf.Tensor
    indicators: tf.Tensor
    columns: tf.Tensor
    owners: tf.Tensor


class Layout(NamedTuple):
    """What the preparations of a stack have in common.

    Attributes:
        numeric: Places of the numeric features.
        categorical: Places of the categorical features.
        offsets: Where each categorical feature begins in `Prepare.columns`.
        n_indicators: Columns that say where a number was missing.
        n_category_columns: Columns that stand for categories.
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
        """Width of the model's input."""
        return len(self.numeric) + self.n_indicators + self.n_category_columns


def shared_table(X: NDArray[np.floating]) -> tf.Tensor:
    """Return the features as float32, of shape (n_samples, n_features), or twice as wide.

    A number of a float64 table is kept in two parts, its nearest float32 and what that leaves.
    Centering takes both, so that seconds since 1970 keep their seconds, whatever other rows hold.
    """
    return tf.constant(np.concatenate(_parts(X), axis=1) if X.dtype == np.float64 else X)


def _parts(values: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    nearest = values.astype(np.float32)
    return nearest, (values - nearest).astype(np.float32)


def layout_of(preparation: Preparation, *, double: bool = False) -> Layout:
    """Return what must be equal for fits to share a stack."""
    sizes = [len(columns) for columns in preparation.columns]
    return Layout(
        numeric=tuple(preparation.numeric.tolist()),
        categorical=tuple(preparation.categorical.tolist()),
        offsets=tuple(np.cumsum([0, *sizes[:-1]]).tolist()) if sizes else (),
        n_indicators=len(preparation.indicators),
        n_category_columns=preparation.n_category_columns,
        double=double,
    )


def stacked(preparations: Sequence[Preparation]) -> Prepare:
    """Return the preparations of a stack, of one layout, as tensors."""

    def stack(name: str, dtype: tf.DType) -> tf.Tensor:
        return tf.constant(np.stack([getattr(p, name) for p in preparations]), dtype)

    def in_parts(name: str) -> tf.Tensor:
        return tf.constant(np.stack([_parts(getattr(p, name)) for p in preparations]))

    columns = [np.concatenate([[NO_COLUMN], *p.columns])[1:] for p in preparations]
    owners = [_owners(p) for p in preparations]
    return Prepare(
        fill=in_parts("fill"),
        center=in_parts("center"),
        scale=stack("scale", tf.float32),
        indicators=stack("indicators", tf.int32),
        columns=tf.constant(np.stack(columns), tf.int32),
        owners=tf.constant(np.stack(owners), tf.int32),
    )


def apply(prepare: Prepare, layout: Layout, x: tf.Tensor) -> tf.Tensor:
    """Return the model's input for raw rows; `Preparation.transform` in one slice of a stack.

    Args:
        prepare: One slice of it.
        layout: Of the stack.
        x: Rows of the shared table.
    """
    numeric = tf.constant(layout.numeric, tf.int32)
    plain = not (layout.categorical or layout.double)
    numbers = x if plain else tf.gather(x, numeric, axis=1)
    missing = tf.math.is_nan(numbers)
    numbers = tf.where(missing, prepare.fill[0], numbers) - prepare.center[0]
    if layout.double:
        rest = tf.gather(x, numeric + x.shape[1] // 2, axis=1)
        numbers += tf.where(missing, prepare.fill[1], rest) - prepare.center[1]
    numbers /= prepare.scale
    parts = [numbers]
    if layout.n_indicators:
        parts.append(tf.cast(tf.gather(missing, prepare.indicators, axis=1), tf.float32))
    if layout.n_category_columns:
        places = tf.gather(x, layout.categorical, axis=1)
        known = ~tf.math.is_nan(places)
        place = tf.cast(tf.where(known, places, 0.0), tf.int32) + tf.constant(layout.offsets)
        column = tf.where(known, tf.gather(prepare.columns, place), NO_COLUMN)
        present = tf.gather(column, prepare.owners, axis=1) == tf.range(layout.n_category_columns)
        parts.append(tf.cast(present, tf.float32))
    return tf.concat(parts, axis=1) if len(parts) > 1 else numbers


def _owners(preparation: Preparation) -> NDArray[np.int64]:
    owners = np.zeros(preparation.n_category_columns, dtype=np.int64)
    for feature, columns in enumerate(preparation.columns):
        owners[columns[columns != NO_COLUMN]] = feature
    return owners
