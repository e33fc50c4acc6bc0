"""Load the data set and its folds, cached per process, plan the fits and choose the trainer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, KerasModelConfig, SklearnModelConfig
from pipeline.cv import (
    Split,
    SplitWarning,
    check_splits,
    inner_splits,
    make_splits,
    validation_part,
)
from pipeline.dataset import Dataset, DataSummary, load, summarise
from pipeline.decision import check_threshold_metric, needs_inner
from pipeline.preprocessing import fit_preprocessor
from pipeline.runtime import heavy_imports, import_tensorflow
from pipeline.scoring import check_metrics
from pipeline.training import NO_ROWS, FitSpec
from pipeline.training.base import Trainer, fit_seed

MAX_CACHED_BYTES = 2**28  # a larger table is dropped before another is loaded
K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationInputs:
    """The data set of a job and its folds.

    Attributes:
        dataset: The data set.
        summary: Its summary in numbers.
        splits: Training and test rows of each fold.
        split_warnings: Warnings about the folds.
    """

    dataset: Dataset
    summary: DataSummary
    splits: Sequence[Split]
    split_warnings: Sequence[SplitWarning]


_datasets: dict[str, tuple[Dataset, DataSummary]] = {}
_splits: dict[tuple[str, str], tuple[Sequence[Split], Sequence[SplitWarning]]] = {}


def load_inputs(config: Config) -> EvaluationInputs:
    """Load the data set and make its folds, or return them from the cache of this process.

    Raises:
        UserError: If the data cannot be read, trained on or split as configured.
    """

    def load_dataset() -> tuple[Dataset, DataSummary]:
        dataset = load(config.dataset)
        return dataset, summarise(dataset)

    def split() -> tuple[Sequence[Split], Sequence[SplitWarning]]:
        splits = make_splits(config.cv, dataset)
        return splits, check_splits(config.cv, dataset, splits)

    check_metrics(config.scoring)
    check_threshold_metric(config.decision, config.scoring.zero_division)
    source = repr(replace(config.dataset, predict_rows=()))
    dataset, summary = _cached(
        _datasets, source, load_dataset, lambda it: it[0].X.nbytes + it[0].y.nbytes
    )
    dataset.check_range()
    if config.preprocessing.imputation == "none":
        dataset.check_complete()
    splits, split_warnings = _cached(
        _splits,
        (repr(config.cv), dataset.digest),
        split,
        lambda it: sum(split.train.nbytes + split.test.nbytes for split in it[0]),
    )
    dataset.check_predict_rows(config.dataset.predict_rows)
    return EvaluationInputs(dataset, summary, splits, split_warnings)


def _cached(cache: dict[K, T], key: K, make: Callable[[], T], n_bytes: Callable[[T], int]) -> T:
    """Return a cached value, or make it; the cache keeps two values, or one if they are large."""
    if key not in cache:
        while len(cache) > 1 or sum(map(n_bytes, cache.values())) > MAX_CACHED_BYTES:
            del cache[next(iter(cache))]
        cache[key] = make()
    return cache[key]


FoldId = tuple[int, int] | Literal["final"]


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """The fits of one fold, or of the final model, as indices into the list of all fits.

    Attributes:
        split: Training and test rows; the final model has no test rows.
        outer: Fits on all training rows, one for each model of the ensemble.
        inner: Fits of each inner fold, which score a part of the training rows.
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
        """Indices of all its fits, ascending."""
        return [index for part in (self.outer, *self.inner) for index in part]


def plan_fits(
    config: Config, dataset: Dataset, splits: Sequence[Split]
) -> tuple[list[FitSpec], list[FoldPlan], FoldPlan]:
    """Plan all fits of a configuration.

    Returns:
        All fits, the plan of each fold, and the plan of the final model.

    Raises:
        UserError: If the training folds are too small for inner folds.
    """
    fits: list[FitSpec] = []
    rows = np.arange(dataset.n_samples)
    all_rows = Split(repeat=-1, fold=-1, train=rows, test=NO_ROWS)
    folds = [
        _plan_fold(config, dataset, (split.repeat, split.fold), split, fits) for split in splits
    ]
    final = _plan_fold(config, dataset, "final", all_rows, fits)
    return fits, folds, final


def _plan_fold(
    config: Config, dataset: Dataset, fold_id: FoldId, split: Split, fits: list[FitSpec]
) -> FoldPlan:
    parts = [(split.train, split.test)]
    if needs_inner(config.decision):
        inner, seed = config.decision.inner_cv, fit_seed(config.seed, fold_id)
        fraction = inner.validation_fraction
        parts += inner_splits(dataset, split.train, inner.n_splits, fraction, seed)
    ranges = []
    for number, (train, test) in enumerate(parts):
        first = len(fits)
        seeds = [
            fit_seed(config.seed, fold_id, number, model_index)
            for model_index in range(config.model.ensemble_size)
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
    """Plan fits on the same rows that differ only in their seeds."""
    stopping, valid = config.training.early_stopping, NO_ROWS
    has_epochs = not isinstance(config.model, SklearnModelConfig)
    if stopping.patience is not None and has_epochs:
        train, valid = validation_part(dataset, train, stopping.validation_fraction, seeds[0])
    X, categories = dataset.X, dataset.categories
    preprocessor = fit_preprocessor(config.preprocessing, X, categories, train)
    return [FitSpec(seed, train, test, preprocessor, valid) for seed in seeds]


def make_trainer(config: Config, dataset: Dataset, fits: Sequence[FitSpec]) -> Trainer:
    """Return the trainer for the configured kind of model.

    Raises:
        UserError: If the model or its training cannot be as configured.
    """
    if isinstance(config.model, SklearnModelConfig):
        with heavy_imports():
            from pipeline.training.sklearn_trainer import SklearnTrainer

        return SklearnTrainer(config.model, config.training, dataset.X, dataset.y, fits)

    with heavy_imports():
        import_tensorflow()
        from pipeline.model.keras_models import build_model, check_savable
        from pipeline.training.keras_trainer import KerasTrainer

    build = partial(build_model, config.model, n_labels=dataset.n_labels)
    if isinstance(config.model, KerasModelConfig):
        check_savable(config.model, build(fits[-1].preprocessor.n_columns))
    architecture = repr((config.model, dataset.n_labels))
    return KerasTrainer(build, config.training, dataset.X, dataset.y, fits, architecture)
