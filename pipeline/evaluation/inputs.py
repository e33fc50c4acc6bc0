"""Load the data set and its folds, cached per process, and plan the fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, SklearnModelConfig
from pipeline.cv import (
    Split,
    SplitWarning,
    check_splits,
    inner_splits,
    make_splits,
    validation_part,
)
from pipeline.dataset import Dataset, DataSummary, load, summarise
from pipeline.decision import needs_inner
from pipeline.preprocessing import fit_preparation
from pipeline.training import NO_ROWS, FitSpec
from pipeline.training.base import fit_seed

LARGEST = 2**28  # bytes kept while something else is read
T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationInputs:
    """What a job works on.

    Attributes:
        dataset: The table.
        summary: The table in numbers.
        splits: Which rows train and which rows test.
        split_warnings: What the folds will lack.
    """

    dataset: Dataset
    summary: DataSummary
    splits: Sequence[Split]
    split_warnings: Sequence[SplitWarning]


class Recent(Generic[T]):
    """The last things that were made, by what they were made from."""

    def __init__(self, size: Callable[[T], int]) -> None:
        """Keep nothing yet.

        Args:
            size: Returns the bytes of a thing.
        """
        self._size = size
        self._cache: dict[Any, T] = {}

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return what is kept under a key, or make and keep it.

        Before anything is made, the oldest are dropped until the rest is small: a large table never
        stays while another is read.
        """
        if key not in self._cache:
            while sum(map(self._size, self._cache.values())) > LARGEST:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = make()
        return self._cache[key]


_datasets = Recent[tuple[Dataset, DataSummary]](lambda kept: kept[0].X.nbytes + kept[0].y.nbytes)
_splits = Recent[tuple[Sequence[Split], Sequence[SplitWarning]]](
    lambda kept: sum(split.train.nbytes + split.test.nbytes for split in kept[0])
)


def read(config: Config) -> EvaluationInputs:
    """Return what the configuration describes; what this process has read is not read again.

    Raises:
        UserError: If the data cannot be read, worked with or divided as configured.
    """

    def read_dataset() -> tuple[Dataset, DataSummary]:
        dataset = load(config.dataset)
        return dataset, summarise(dataset)

    def divide() -> tuple[Sequence[Split], Sequence[SplitWarning]]:
        splits = make_splits(config.cv, dataset)
        return splits, check_splits(config.cv, dataset, splits)

    source = repr(replace(config.dataset, new_rows=()))
    dataset, summary = _datasets.get(source, read_dataset)
    dataset.check_range()
    if config.preparation.impute == "none":
        dataset.check_complete()
    splits, split_warnings = _splits.get((repr(config.cv), dataset.digest), divide)
    return EvaluationInputs(dataset, summary, splits, split_warnings)


FoldId = tuple[int, int] | Literal["final"]


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """The fits of one fold, or of the final model, by their places in the list of all fits.

    Attributes:
        split: Rows to train on and rows to test, if any.
        outer: Fits of the members of the ensemble, on the training rows.
        inner: For each part of the training rows, fits of the members on the other parts; they
            score that part.
    """

    split: Split
    outer: range
    inner: tuple[range, ...]

    @property
    def fold_id(self) -> tuple[int, int]:
        """Repeat and fold."""
        return self.split.repeat, self.split.fold

    @property
    def fit_indices(self) -> list[int]:
        """All of them, in ascending order."""
        return [fold_id for part in (self.outer, *self.inner) for fold_id in part]


def plan_fits(
    config: Config, dataset: Dataset, splits: Sequence[Split]
) -> tuple[list[FitSpec], list[FoldPlan], FoldPlan]:
    """Return all fits, the work of each fold, and the work of the final model.

    Raises:
        UserError: If training folds are too small to be divided again.
    """
    fits: list[FitSpec] = []
    rows = np.arange(dataset.n_samples)
    everything = Split(repeat=-1, fold=-1, train=rows, test=NO_ROWS)
    folds = [
        _plan_fold(config, dataset, (split.repeat, split.fold), split, fits) for split in splits
    ]
    final = _plan_fold(config, dataset, "final", everything, fits)
    return fits, folds, final


def _plan_fold(
    config: Config, dataset: Dataset, fold_id: FoldId, split: Split, fits: list[FitSpec]
) -> FoldPlan:
    parts = [(split.train, split.test)]
    if needs_inner(config.scoring):
        inner, seed = config.scoring.inner, fit_seed(config.seed, fold_id)
        share = inner.validation_share
        parts += inner_splits(dataset, split.train, inner.n_splits, share, seed)
    ranges = []
    for number, (train, test) in enumerate(parts):
        first = len(fits)
        seeds = [
            fit_seed(config.seed, fold_id, number, model_index)
            for model_index in range(config.model.n_members)
        ]
        fits += _ensemble_fits(config, dataset, train, test, seeds)
        ranges.append(range(first, len(fits)))
    return FoldPlan(split, ranges[0], tuple(ranges[1:]))


def _ensemble_fits(
    config: Config,
    dataset: Dataset,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seeds: Sequence[int],
) -> list[FitSpec]:
    """Return fits of one training fold that differ by their seeds alone."""
    stopping, valid = config.training.early_stopping, NO_ROWS
    has_epochs = not isinstance(config.model, SklearnModelConfig)
    if stopping.patience is not None and has_epochs:
        train, valid = validation_part(dataset, train, stopping.validation_share, seeds[0])
    X, categories = dataset.X, dataset.categories
    preparation = fit_preparation(config.preparation, X, categories, train)
    return [FitSpec(seed, train, test, preparation, valid) for seed in seeds]
