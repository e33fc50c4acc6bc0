"""Append the columns that are derived from dates and texts to the matrix of a data set."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import (
    Config,
    EstimatorConfig,
    PreprocessingConfig,
    SklearnModelConfig,
    TextConfig,
)
from pipeline.dataset import Dataset
from pipeline.dataset.files import LEAVE_OUT, check_fits_memory
from pipeline.dataset.mapped_files import make_matrix
from pipeline.errors import UserError
from pipeline.matrix_blocks import row_blocks
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.derived_columns import DAYS, PARTS, DateParts, Derived
from pipeline.preprocessing.text_columns import TextCounts, make_vectorizer
from pipeline.preprocessing.text_fitting import select_terms


def check_category_encoding(config: Config, *, has_weights: bool) -> None:
    """Raise UserError if the model cannot take the categories as they are encoded."""
    encoding, model = config.preprocessing.category_encoding, config.model
    is_network = not isinstance(model, EstimatorConfig)
    if encoding == "embedding" and not is_network:
        raise UserError(
            "preprocessing.category_encoding: expected another encoding than embedding for "
            f"{model.title}, as networks alone learn embeddings. Type: "
            "preprocessing.category_encoding=ordinal"
        )
    if encoding != "target":
        return
    reason = "" if isinstance(model, SklearnModelConfig) else "as it is for scikit-learn's models"
    if isinstance(model, SklearnModelConfig) and model.strategy == "native":
        reason = "as one estimator predicts all labels; or give model.strategy=binary_relevance"
    elif has_weights:
        reason = "as scikit-learn's TargetEncoder takes no weights of rows"
    if reason:
        raise UserError(
            "preprocessing.category_encoding: expected another encoding than target for "
            f"{model.title}, {reason}. Type: preprocessing.category_encoding="
            f"{'embedding' if is_network else 'ordinal'}"
        )


TrainSets = Callable[[], Sequence[NDArray[np.integer]]]


def derive_columns(
    config: PreprocessingConfig, dataset: Dataset, train_sets: TrainSets = lambda: ()
) -> Dataset:
    """Return a data set with derived columns in its matrix and its schema, if there are any.

    Args:
        config: Parts of dates, and terms of texts.
        dataset: The data set.
        train_sets: Returns the training rows of all fits, which decide on the terms: the matrix
            has the counts of each term that one of them selects.

    Raises:
        UserError: If the chosen parts of dates leave no feature, a column of texts has no term, or
            the counts do not fit into memory.
    """
    derived: list[Derived] = []
    for column in dataset.schema.columns:
        if column.kind == "text":
            derived.append(_text_counts(config.text, column.name, dataset, train_sets()))
        elif (parts := _date_parts(config, column, dataset)) is not None:
            derived.append(parts)
    if not derived:
        return dataset
    if len(derived) == dataset.n_features and not any(it.n_columns for it in derived):
        raise UserError(
            "preprocessing.datetime: expected a part of dates that differs between rows. Received: "
            f"{', '.join(config.datetime)}. Give preprocessing.datetime=[days]"
        )
    n_columns = sum(it.n_columns for it in derived)
    shape = dataset.n_samples, dataset.n_features + n_columns
    if not isinstance(dataset.X, np.memmap):
        check_fits_memory(dataset.source, shape, 8, LEAVE_OUT)
    schema = replace(dataset.schema, derived=tuple(derived))
    sources = {it.source for it in derived}
    blocks = (
        schema.append_derived(dataset.X[rows], {it: dataset.exact[it][rows] for it in sources})
        for rows in row_blocks(*shape)
    )
    return replace(dataset, X=make_matrix(dataset.X, shape, blocks), schema=schema)


def _text_counts(
    config: TextConfig, name: str, dataset: Dataset, train_sets: Sequence[NDArray[np.integer]]
) -> TextCounts:
    """Return the counts of the terms that a training set selects, or of hash values."""
    settings = name, config.analyzer, config.ngram_range
    if config.hashing:
        return TextCounts(*settings, n_buckets=config.max_features)
    vectorizer = make_vectorizer(config.analyzer, config.ngram_range)
    try:
        counts = vectorizer.fit_transform(dataset.exact[name])
    except ValueError as error:  # an empty vocabulary
        raise UserError(
            f"{dataset.source}: expected words in column {name!r} of dataset.text_columns. "
            f"Received: {error}"
        ) from error
    selected = np.zeros(counts.shape[1], dtype=bool)
    for train in train_sets:
        rows = counts[train]
        n_rows_with = np.bincount(rows.indices, minlength=counts.shape[1])
        total = np.asarray(rows.sum(axis=0, dtype=np.float64)).ravel()
        selected[select_terms(config, n_rows_with, total)] = True
    if not selected.any():
        raise UserError(
            "preprocessing.text.min_df: expected at most the number of rows with a word of column "
            f"{name!r}. Received: {config.min_df}."
        )
    vocabulary = vectorizer.get_feature_names_out()[selected]
    return TextCounts(*settings, tuple(vocabulary.tolist()))


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
