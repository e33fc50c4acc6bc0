"""Fit preprocessors to the training rows of all folds at once."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import murmurhash3_32

from pipeline.config import PreprocessingConfig
from pipeline.matrix_blocks import column_blocks, read_columns
from pipeline.preprocessing.column_statistics import ColumnStatistics
from pipeline.preprocessing.derived_columns import DAY
from pipeline.preprocessing.input_columns import find_input_columns
from pipeline.preprocessing.preprocessor import NO_COLUMN, Preprocessor, round_up
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.preprocessing.text_fitting import fit_text

FLAG_CATEGORIES = {"0", "1"}
MAX_BLOCKS_PER_FOLD = 2  # more blocks than this would not save time


def fit_preprocessors(
    config: PreprocessingConfig,
    X: NDArray[np.floating],
    schema: TableSchema,
    train_sets: Sequence[NDArray[np.integer]],
    *,
    is_final: bool = False,
) -> list[Preprocessor]:
    """Fit a preprocessor to each set of training rows, and to these rows alone.

    Numbers are imputed before the scaling is learnt, as in scikit-learn's pipeline of
    `SimpleImputer` and `StandardScaler`, `RobustScaler` or `MinMaxScaler`. A feature that is
    missing in all training rows is imputed with 0; a constant feature has scale 1.

    Means, deviations and counts are taken once of each block of rows that no training set divides,
    such as a test fold, and merged: for ten folds this saves most of the time. Only blocks of its
    own rows enter a preprocessor, so other rows cannot influence it, not even in a last bit.

    Args:
        config: Kind of imputation, scaling and encoding.
        X: All encoded rows, of shape (n_samples, n_features).
        schema: Their schema.
        train_sets: Row numbers of the training rows of each fold.
        is_final: Learn the median of each number, for rows to predict; else only where the table
            has a missing value.
    """
    if not train_sets:
        return []
    numeric = find_input_columns(schema).numeric
    needs_median = np.full(len(numeric), is_final)
    if config.imputation == "median" and not is_final:
        needs_median = np.isnan(X.max(axis=0)[numeric])
    return [
        _fit(config, X, schema, train, statistics, needs_median)
        for train, statistics in zip(train_sets, _statistics(X, schema, train_sets), strict=True)
    ]


def _statistics(
    X: NDArray[np.floating], schema: TableSchema, train_sets: Sequence[NDArray[np.integer]]
) -> list[ColumnStatistics]:
    """Return the statistics of each training set, merged from blocks where that saves time."""
    is_member = np.zeros((len(train_sets), len(X)), dtype=bool)
    for number, train in enumerate(train_sets):
        is_member[number, train] = True
    blocks = _find_blocks(is_member, MAX_BLOCKS_PER_FOLD * len(train_sets))
    if blocks is None:
        return [ColumnStatistics.of_rows(X, schema, np.sort(train)) for train in train_sets]
    by_block = {
        int(rows[0]): ColumnStatistics.of_rows(X, schema, rows)
        for rows in blocks
        if is_member[:, rows[0]].any()
    }
    return [
        reduce(ColumnStatistics.merge, [by_block[row] for row in by_block if has_row[row]])
        for has_row in is_member
    ]


def _find_blocks(is_member: NDArray[np.bool_], max_blocks: int) -> list[NDArray[np.int64]] | None:
    """Return the rows of each block; None if there are too many.

    Args:
        is_member: Whether a training set has a row, of shape (n_train_sets, n_samples); equal for
            all rows of a block.
        max_blocks: Largest number of blocks.
    """
    block = np.zeros(is_member.shape[1], dtype=np.int64)
    for memberships in np.packbits(is_member, axis=0):  # in 8 training sets each
        code = 256 * block + memberships
        is_used = np.bincount(code) > 0  # faster than np.unique, which sorts
        if is_used.sum() > max_blocks:
            return None
        block = (np.cumsum(is_used) - 1)[code]
    order = np.argsort(block, kind="stable")
    return np.split(order, np.cumsum(np.bincount(block))[:-1])


def _fit(
    config: PreprocessingConfig,
    X: NDArray[np.floating],
    schema: TableSchema,
    train: NDArray[np.integer],
    statistics: ColumnStatistics,
    needs_median: NDArray[np.bool_],
) -> Preprocessor:
    columns = find_input_columns(schema)
    numeric, offsets = columns.numeric, columns.offsets
    has_missing = statistics.n_missing > 0
    fill = np.zeros(len(numeric))
    match config.imputation:
        case "none":
            fill[:] = np.nan
        case "constant":
            fill = config.fill_value - offsets
        case "mean":
            fill = statistics.mean
        case "median":
            positions = np.flatnonzero(needs_median & (statistics.n > 0))
            columns_read = read_columns(X, train, numeric[positions])
            for position, values in zip(positions, columns_read, strict=True):
                fill[position] = _median(values)
    is_imputed = config.imputation != "none"
    imputed = statistics.impute(np.where(has_missing, fill, 0)) if is_imputed else statistics
    match config.scaling:
        case "none":
            center = np.where(columns.is_date, imputed.low, -offsets)
            scale = np.where(columns.is_date, DAY, 1.0)
        case "standard":
            center, scale = imputed.mean, np.sqrt(imputed.m2 / np.maximum(imputed.n, 1))
        case "robust":
            low, center, high = _quartiles(X, train, numeric, fill.astype(np.float32))
            scale = high - low
        case "minmax":
            center, scale = imputed.low, imputed.high - imputed.low
    if config.scaling != "none":
        # A smaller scale would be flushed to 0 in float32.
        is_constant = (imputed.low == imputed.high) | (scale < np.finfo(np.float32).tiny)
        scale = np.where(is_constant, 1.0, scale)
    has_missing &= ~columns.is_repeated
    indicators = np.flatnonzero(has_missing) if config.add_indicator else np.empty(0, np.int64)
    n_spare = round_up(len(indicators)) - len(indicators)
    return Preprocessor(
        numeric,
        fill.astype(np.float32),
        center.astype(np.float32),
        scale.astype(np.float32),
        np.append(indicators, np.full(n_spare, NO_COLUMN)),
        columns.categorical,
        _category_columns(config, schema, statistics.category_counts),
        *_fit_texts(config, X, columns.texts, train),
        encoding={"embedding": "ordinal", "hashing": "onehot"}.get(
            config.category_encoding, config.category_encoding
        ),
    )


def _median(values: NDArray[np.floating]) -> float:
    """Return what `np.nanmedian` returns for the values in float64, in half of the time."""
    missing = np.isnan(values)
    present = values[~missing] if missing.any() else values
    middle = [(len(present) - 1) // 2, len(present) // 2]
    return float(np.partition(present, middle)[middle].mean(dtype=np.float64))


def _quartiles(
    X: NDArray[np.floating],
    train: NDArray[np.integer],
    numeric: NDArray[np.int64],
    fill: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the quartiles of each number, imputed unless its fill value is NaN."""
    quantile = np.nanquantile if np.isnan(fill).any() else np.quantile
    quartiles = np.empty((3, len(numeric)))
    for part in column_blocks(len(train), len(numeric)):
        numbers = X[np.ix_(train, numeric[part])]
        numbers = np.where(np.isnan(numbers), fill[part], numbers)
        quartiles[:, part] = quantile(numbers, [0.25, 0.5, 0.75], axis=0)
    return quartiles


def _fit_texts(
    config: PreprocessingConfig,
    X: NDArray[np.floating],
    texts: Sequence[NDArray[np.int64]],
    train: NDArray[np.integer],
) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[NDArray[Any]]]:
    """Return terms, inverse document frequencies and components of the columns of texts."""
    weights = [fit_text(config.text, X, train, counts) for counts in texts]
    terms = [counts[0] + it.terms for it, counts in zip(weights, texts, strict=True)]
    return terms, [it.idf for it in weights], [it.components for it in weights]


def _category_columns(
    config: PreprocessingConfig, schema: TableSchema, category_counts: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """Return the column, or the code, of each category, for each categorical feature."""
    columns, n_used = [], 0
    categorical = [column for column in schema.columns if column.kind == "category"]
    for feature, counts in zip(categorical, category_counts, strict=True):
        if config.category_encoding == "hashing":
            hashes = [murmurhash3_32(text, positive=True) for text in feature.categories]
            columns.append(n_used + np.array(hashes, dtype=np.int64) % config.n_hash_buckets)
            n_used += config.n_hash_buckets
            continue
        if config.category_encoding != "onehot":
            n_used = 0  # each feature has codes of its own
        column = np.full(len(feature.categories), NO_COLUMN)
        is_flag = (
            set(feature.categories) == FLAG_CATEGORIES and config.category_encoding == "onehot"
        )
        encoded = np.array(feature.categories) == "1" if is_flag else counts > 0
        frequent = encoded & (is_flag | (counts >= config.min_frequency))
        column[frequent] = n_used + np.arange(frequent.sum())
        n_used += int(frequent.sum())
        rare = encoded & ~frequent
        if rare.any():
            column[rare] = n_used
            n_used += 1
        columns.append(column)
    return columns
