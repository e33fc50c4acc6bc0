"""Load the data set that the configuration names."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import (
    ArffConfig,
    DatasetConfig,
    NpzConfig,
    OpenmlConfig,
    PythonDatasetConfig,
    SvmlightConfig,
    SyntheticConfig,
    TableConfig,
)
from pipeline.dataset.dataset import TEST, TRAIN, Dataset
from pipeline.errors import UserError


def load(config: DatasetConfig) -> Dataset:
    """Return the data set that the configuration describes.

    Raises:
        UserError: If it cannot be read or is not a multi-label table.
    """
    if isinstance(config, TableConfig | ArffConfig) and config.test_path:
        return _pair(config, config.test_path)
    return _read(config)


def _pair(config: TableConfig | ArffConfig, test_path: str) -> Dataset:
    if isinstance(config, TableConfig) and (config.fold or config.group):
        raise UserError(
            "dataset.test_path: expected neither dataset.fold nor dataset.group beside it, as the "
            f"files say which rows test. Received: {config.fold or config.group!r}."
        )
    train = _read(replace(config, test_path=None))
    test = _read(replace(config, path=test_path, test_path=None))
    return join(train, test, all_labels=isinstance(config, TableConfig) and bool(config.label_list))


def _read(config: DatasetConfig) -> Dataset:
    match config:  # each source brings its own heavy imports
        case SyntheticConfig():
            from pipeline.dataset.synthetic import synthetic

            return synthetic(config)
        case TableConfig():
            from pipeline.dataset.table import read_table

            return read_table(config)
        case ArffConfig():
            from pipeline.dataset.arff import read_arff

            return read_arff(config)
        case OpenmlConfig():
            from pipeline.dataset.openml import fetch

            return fetch(config)
        case SvmlightConfig():
            from pipeline.dataset.svmlight import read_svmlight

            return read_svmlight(config)
        case NpzConfig():
            from pipeline.dataset.npz import read_npz

            return read_npz(config)
        case PythonDatasetConfig():
            from pipeline.dataset.python import call

            return call(config)


def join(train: Dataset, test: Dataset, *, all_labels: bool = False) -> Dataset:
    """Return the rows of both, the first to train on, the second to test on; columns by name.

    Args:
        train: Rows to train on.
        test: Rows to test on.
        all_labels: Whether a label that one of them lacks is one that none of its rows has.

    Raises:
        UserError: If features or labels differ, a feature is numeric in one of them only, or a row
            is in both by its id.
    """
    where = f"{train.source or train.name} and {test.source or test.name}"
    _check_same_columns(where, "features", train.feature_names, test.feature_names)
    if not all_labels:
        _check_same_columns(where, "labels", train.label_names, test.label_names)
    test = _ordered(test, train.feature_names)
    kinds = [_categorical(part) for part in (train, test)]
    _check_same_columns(where, "categorical features", *kinds)
    categories = tuple(
        None if one is None or other is None else tuple(sorted({*one, *other}))
        for one, other in zip(train.categories, test.categories, strict=True)
    )
    label_names = tuple(dict.fromkeys([*train.label_names, *test.label_names]))
    return replace(
        train,
        X=np.concatenate([_recoded(part, categories) for part in (train, test)]),
        y=np.concatenate([_labels(part, label_names) for part in (train, test)]),
        label_names=label_names,
        categories=categories,
        ids=_ids(where, train, test),
        warnings=(),
        fold=np.repeat([TRAIN, TEST], [train.n_samples, test.n_samples]),
    )


def _check_same_columns(where: str, what: str, one: Sequence[str], other: Sequence[str]) -> None:
    if set(one) != set(other):
        differing = sorted(set(one) ^ set(other))[:5]
        raise UserError(
            f"{where}: expected the same {what} in train and test. Received: in one of them only: "
            f"{', '.join(differing)}."
        )


def _categorical(part: Dataset) -> list[str]:
    known = part.categories or (None,) * part.n_features
    return [name for name, its in zip(part.feature_names, known, strict=True) if its is not None]


def _ordered(part: Dataset, feature_names: tuple[str, ...]) -> Dataset:
    """Return the data with its features in the order of the names."""
    if part.feature_names == feature_names:
        return part
    places = [part.feature_names.index(name) for name in feature_names]
    categories = tuple(part.categories[place] for place in places) if part.categories else ()
    X = np.ascontiguousarray(part.X[:, places])
    return replace(part, X=X, feature_names=feature_names, categories=categories)


def _labels(part: Dataset, label_names: tuple[str, ...]) -> NDArray[np.int8]:
    y = np.zeros((part.n_samples, len(label_names)), dtype=np.int8)
    y[:, [label_names.index(name) for name in part.label_names]] = part.y
    return y


def _ids(where: str, train: Dataset, test: Dataset) -> NDArray[np.str_] | None:
    if train.ids is None or test.ids is None:
        return None
    both = np.intersect1d(train.ids, test.ids)
    if len(both):
        raise UserError(
            f"{where}: expected each row in one of them. Received: {len(both)} in both, such as "
            f"'{both[0]}'."
        )
    return np.concatenate([train.ids, test.ids])


def _recoded(part: Dataset, categories: tuple[tuple[str, ...] | None, ...]) -> NDArray[np.floating]:
    """Return the features with each category at its place in `categories`."""
    X = part.X.copy()
    for feature, known in enumerate(categories):
        if known is not None:
            places = np.array([known.index(text) for text in part.categories[feature] or ()])
            present = ~np.isnan(X[:, feature])
            X[present, feature] = places[X[present, feature].astype(np.int64)]
    return X
