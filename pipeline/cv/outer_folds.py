"""Outer folds of nested cross-validation, and the folds of their training rows.

In each outer fold, the configurations are compared on folds of the training rows alone, and the
chosen one is scored on the test rows, which had no part in the choice.
"""

from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import (
    CvConfig,
    KFoldConfig,
    PredefinedConfig,
    ShuffleSplitConfig,
    TimeSeriesConfig,
)
from pipeline.cv.splitters import Split, make_splits
from pipeline.dataset import Dataset
from pipeline.errors import UserError

OUTER = "outer "  # prefix of the names of outer folds
OFFSET = 2**31  # between the random states of outer and ordinary folds


def make_nested_splits(config: CvConfig, dataset: Dataset) -> list[Split]:
    """Make the outer folds, then the folds of the training rows of each.

    Outer folds are made by the same splitter as the ordinary ones, with a random state of their
    own; the folds of their training rows with the same random state as the ordinary ones.

    Returns:
        All folds; empty without `cv.outer_splits`.

    Raises:
        UserError: If the data do not allow them.
    """
    if config.outer_splits is None:
        return []
    try:
        splits = make_splits(_outer_config(config), dataset)
    except UserError as error:
        raise UserError(str(error).replace("cv.n_splits", "cv.outer_splits")) from error
    if len(splits) != config.outer_splits and isinstance(config, PredefinedConfig):
        raise UserError(
            f"cv.outer_splits: expected {len(splits)}, the number of the predefined folds, which "
            f"are the outer folds too. Received: {config.outer_splits}"
        )
    outer = [replace(split, prefix=OUTER) for split in splits]
    return outer + [inner for split in outer for inner in _inner_splits(config, dataset, split)]


def _inner_splits(config: CvConfig, dataset: Dataset, outer: Split) -> list[Split]:
    try:
        splits = make_splits(config, _select_rows(dataset, outer.train))
    except UserError as error:
        raise UserError(
            f"cv.outer_splits: expected outer folds whose training rows can be divided like all "
            f"rows. Received: {outer.name}, with {len(outer.train)} training rows. {error}"
        ) from error
    prefix = inner_prefix(outer)
    return [
        replace(split, train=outer.train[split.train], test=outer.train[split.test], prefix=prefix)
        for split in splits
    ]


def inner_prefix(outer: Split) -> str:
    """Return the prefix of the names of the folds of an outer fold's training rows."""
    return f"{outer.name}, inner "


def _outer_config(config: CvConfig) -> CvConfig:
    match config:
        case KFoldConfig(outer_splits=int(n_splits)):
            random_state = (config.random_state + OFFSET) % 2**32
            n_repeats = config.outer_repeats
            return replace(
                config, n_splits=n_splits, n_repeats=n_repeats, random_state=random_state
            )
        case ShuffleSplitConfig(outer_splits=int(n_splits)):
            random_state = (config.random_state + OFFSET) % 2**32
            return replace(config, n_splits=n_splits, random_state=random_state)
        case TimeSeriesConfig(outer_splits=int(n_splits)):
            return replace(config, n_splits=n_splits)
    return config


def _select_rows(dataset: Dataset, rows: NDArray[np.integer]) -> Dataset:
    """Return some rows as splitters read them: without features, unchecked."""
    selected = copy(dataset)
    object.__setattr__(selected, "X", dataset.X[:, :0])
    for name, values in vars(selected).items():
        if isinstance(values, np.ndarray):
            object.__setattr__(selected, name, values[rows])
    return selected
