"""Load the data set and its folds, cached per process, and plan the fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, SklearnModelConfig
from pipeline.cv import Split, Trouble, find_troubles, inner_splits, make_splits, validation_part
from pipeline.dataset import Dataset, DataSummary, load, summarise
from pipeline.decision import needs_inner
from pipeline.preprocessing import fit_preparation
from pipeline.training import NO_ROWS, Fit
from pipeline.training.stack import fit_seed

LARGEST = 2**28  # bytes kept while something else is read
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """What a job works on.

    Attributes:
        dataset: The table.
        summary: The table in numbers.
        splits: Which rows train and which rows test.
        troubles: What the folds will lack.
    """

    dataset: Dataset
    summary: DataSummary
    splits: Sequence[Split]
    troubles: Sequence[Trouble]


class Recent(Generic[T]):
    """The last things that were made, by what they were made from."""

    def __init__(self, size: Callable[[T], int]) -> None:
        """Keep nothing yet.

        Args:
            size: Returns the bytes of a thing.
        """
        self._size = size
        self._kept: dict[Any, T] = {}

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return what is kept under a key, or make and keep it.

        Before anything is made, the oldest are dropped until the rest is small: a large table never
        stays while another is read.
        """
        if key not in self._kept:
            while sum(map(self._size, self._kept.values())) > LARGEST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = make()
        return self._kept[key]


_datasets = Recent[tuple[Dataset, DataSummary]](lambda kept: kept[0].X.nbytes + kept[0].y.nbytes)
_splits = Recent[tuple[Sequence[Split], Sequence[Trouble]]](
    lambda kept: sum(split.train.nbytes + split.test.nbytes for split in kept[0])
)


def read(config: Config) -> Material:
    """Return what the configuration describes; what this process has read is not read again.

    Raises:
        UserError: If the data cannot be read, worked with or divided as configured.
    """

    def read_dataset() -> tuple[Dataset, DataSummary]:
        dataset = load(config.dataset)
        return dataset, summarise(dataset)

    def divide() -> tuple[Sequence[Split], Sequence[Trouble]]:
        splits = make_splits(config.cv, dataset)
        return splits, find_troubles(config.cv, dataset, splits)

    source = repr(replace(config.dataset, new_rows=()))
    dataset, summary = _datasets.get(source, read_dataset)
    dataset.refuse_extreme()
    if config.preparation.impute == "none":
        dataset.refuse_missing()
    splits, troubles = _splits.get((repr(config.cv), dataset.digest), divide)
    return Material(dataset, summary, splits, troubles)


Place = tuple[int, int] | Literal["final"]


@dataclass(frozen=True, eq=False)
class Work:
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
    def place(self) -> tuple[int, int]:
        """Repeat and fold."""
        return self.split.repeat, self.split.fold

    @property
    def places(self) -> list[int]:
        """All of them, in ascending order."""
        return [place for part in (self.outer, *self.inner) for place in part]


def lay_out(
    config: Config, dataset: Dataset, splits: Sequence[Split]
) -> tuple[list[Fit], list[Work], Work]:
    """Return all fits, the work of each fold, and the work of the final model.

    Raises:
        UserError: If training folds are too small to be divided again.
    """
    fits: list[Fit] = []
    rows = np.arange(dataset.n_samples)
    everything = Split(repeat=-1, fold=-1, train=rows, test=NO_ROWS)
    folds = [_lay_out(config, dataset, (split.repeat, split.fold), split, fits) for split in splits]
    final = _lay_out(config, dataset, "final", everything, fits)
    return fits, folds, final


def _lay_out(config: Config, dataset: Dataset, place: Place, split: Split, fits: list[Fit]) -> Work:
    parts = [(split.train, split.test)]
    if needs_inner(config.scoring):
        inner, seed = config.scoring.inner, fit_seed(config.seed, place)
        share = inner.validation_share
        parts += inner_splits(dataset, split.train, inner.n_splits, share, seed)
    ranges = []
    for number, (train, test) in enumerate(parts):
        first = len(fits)
        seeds = [
            fit_seed(config.seed, place, number, member) for member in range(config.model.n_members)
        ]
        fits += _members(config, dataset, train, test, seeds)
        ranges.append(range(first, len(fits)))
    return Work(split, ranges[0], tuple(ranges[1:]))


def _members(
    config: Config,
    dataset: Dataset,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seeds: Sequence[int],
) -> list[Fit]:
    """Return fits of one training fold that differ by their seeds alone."""
    stopping, valid = config.training.early_stopping, NO_ROWS
    has_epochs = not isinstance(config.model, SklearnModelConfig)
    if stopping.patience is not None and has_epochs:
        train, valid = validation_part(dataset, train, stopping.validation_share, seeds[0])
    X, categories = dataset.X, dataset.categories
    preparation = fit_preparation(config.preparation, X, categories, train)
    return [Fit(seed, train, test, preparation, valid) for seed in seeds]
