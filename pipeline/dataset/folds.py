"""Folds that the data bring along: a column that names them, or a train and a test file."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.record import Dataset
from pipeline.errors import UserError

TRAIN, TEST = -1, 0
_WORDS = {"train": TRAIN, "test": TEST}


def read_folds(
    values: Sequence[object], where: str, rows: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """Return the fold in which each row is tested; -1 trains always.

    Args:
        values: For each row the number of its fold, or the word train or test.
        where: The column, for the message.
        rows: The row of each value, for the message; None: its place.

    Raises:
        UserError: If a value is neither.
    """
    places = range(len(values)) if rows is None else rows
    folds = [_fold(value, row, where) for row, value in zip(places, values, strict=True)]
    return np.array(folds, dtype=np.int64)


def join(train: Dataset, test: Dataset, name: str) -> Dataset:
    """Return the rows of both under one name, the first to train on, the second to test on.

    Raises:
        UserError: If features or labels differ, or a feature is numeric in one of them only.
    """
    kinds = [
        tuple(known is not None for known in part.categories) or (False,) * part.n_features
        for part in (train, test)
    ]
    for what, one, other in (
        ("features", train.feature_names, test.feature_names),
        ("labels", train.label_names, test.label_names),
        ("kinds of features", kinds[0], kinds[1]),
    ):
        if one != other:
            differing = sorted({str(item) for item in set(one) ^ set(other)})[:5]
            raise UserError(
                f"{name}: expected the same {what} in train and test, in the same order. "
                f"Received: {len(one)} and {len(other)}; {_in_one(differing)}"
            )
    categories = tuple(
        None if one is None or other is None else tuple(sorted({*one, *other}))
        for one, other in zip(train.categories, test.categories, strict=True)
    )
    return replace(
        train,
        name=name,
        X=np.concatenate([_recoded(part, categories) for part in (train, test)]),
        categories=categories,
        ids=None,
        warnings=(),
        y=np.concatenate([train.y, test.y]),
        groups=None
        if train.groups is None or test.groups is None
        else np.concatenate([train.groups, test.groups]),
        fold=np.repeat([TRAIN, TEST], [train.n_samples, test.n_samples]),
    )


def _recoded(part: Dataset, categories: tuple[tuple[str, ...] | None, ...]) -> NDArray[np.floating]:
    """Return the features with each category at its place in `categories`."""
    X = part.X.copy()
    for feature, known in enumerate(categories):
        if known is not None:
            places = np.array([known.index(text) for text in part.categories[feature] or ()])
            present = ~np.isnan(X[:, feature])
            X[present, feature] = places[X[present, feature].astype(np.int64)]
    return X


def _fold(value: object, row: int, where: str) -> int:
    text = str(value).strip().lower()
    if text in _WORDS:
        return _WORDS[text]
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not number.is_integer() or number < TRAIN:
        raise UserError(
            f"{where}: expected the number of a fold, from -1 (always trains), or the word train "
            f"or test. Received: {value!r} in row {row}."
        )
    return int(number)


def _in_one(names: list[str]) -> str:
    return f"in one of them only: {', '.join(names)}" if names else "in another order."
