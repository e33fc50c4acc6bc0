"""Folds that the data bring along: a column that names them, or a train and a test file."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.record import Dataset
from pipeline.errors import UserError

TRAIN, TEST = -1, 0
_WORDS = {"train": TRAIN, "test": TEST}


def read_folds(values: Sequence[object], where: str) -> NDArray[np.int64]:
    """Return the fold in which each row is tested; -1 trains always.

    Args:
        values: For each row the number of its fold, or the word train or test.
        where: The column, for the message.

    Raises:
        UserError: If a value is neither.
    """
    return np.array([_fold(value, row, where) for row, value in enumerate(values)], dtype=np.int64)


def join(train: Dataset, test: Dataset, name: str) -> Dataset:
    """Return the rows of both under one name, the first to train on, the second to test on.

    Raises:
        UserError: If features, categories or labels differ.
    """
    for what, one, other in (
        ("features", train.feature_names, test.feature_names),
        ("labels", train.label_names, test.label_names),
        ("categories", train.categories, test.categories),
    ):
        if one != other:
            differing = sorted({str(item) for item in set(one) ^ set(other)})[:5]
            raise UserError(
                f"{name}: expected the same {what} in train and test, in the same order. "
                f"Received: {len(one)} and {len(other)}; {_in_one(differing)}"
            )
    return replace(
        train,
        name=name,
        X=np.concatenate([train.X, test.X]),
        y=np.concatenate([train.y, test.y]),
        groups=None
        if train.groups is None or test.groups is None
        else np.concatenate([train.groups, test.groups]),
        fold=np.repeat([TRAIN, TEST], [train.n_samples, test.n_samples]),
    )


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
