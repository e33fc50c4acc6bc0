"""Which fits a configuration asks for: of each fold, within each fold, and of the final model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, SklearnModelConfig
from pipeline.cv import Split, inner_splits, validation_part
from pipeline.dataset import Dataset
from pipeline.preparation import fit_preparation
from pipeline.scoring import needs_inner
from pipeline.training import Fit, fit_seed
from pipeline.training.fit import NO_ROWS

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
