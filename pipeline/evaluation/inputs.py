"""Load the data set and its folds, cached per process, plan the fits and choose the trainer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, EstimatorConfig, KerasModelConfig, SklearnModelConfig
from pipeline.cv import (
    Split,
    SplitWarning,
    check_splits,
    inner_splits,
    make_nested_splits,
    make_splits,
    validation_part,
)
from pipeline.dataset import Dataset, DataSummary, load, summarise
from pipeline.decision import check_threshold_metric, needs_inner
from pipeline.errors import UserError
from pipeline.evaluation.derived_inputs import check_category_encoding
from pipeline.evaluation.fingerprint import code_version
from pipeline.evaluation.fold_results import FoldPlan
from pipeline.keras_backend import reset_keras
from pipeline.preprocessing import Preprocessor, fit_preprocessors
from pipeline.runtime import heavy_imports
from pipeline.scoring import check_metrics, check_own_arguments
from pipeline.training import NO_ROWS, FitSpec
from pipeline.training.base import Trainer, fit_seed
from pipeline.training.loss_weights import check_fits, list_label_weights
from pipeline.training.program_cache import enable_program_cache

MAX_CACHED_BYTES = 2**28  # a larger table is dropped before another is loaded
MAX_PROBES = 256  # training rows that test the user's own model
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
        nested_splits: Outer folds, then the folds of their training rows; empty without
            `cv.outer_splits`.
    """

    dataset: Dataset
    summary: DataSummary
    splits: Sequence[Split]
    split_warnings: Sequence[SplitWarning]
    nested_splits: Sequence[Split]


_Splits = tuple[Sequence[Split], Sequence[SplitWarning], Sequence[Split]]
_datasets: dict[str, tuple[Dataset, DataSummary]] = {}
_splits: dict[tuple[str, str], _Splits] = {}


def load_inputs(config: Config) -> EvaluationInputs:
    """Load the data set and make its folds, or return them from the cache of this process.

    Raises:
        UserError: If the data cannot be read, trained on or split as configured.
    """

    def load_dataset() -> tuple[Dataset, DataSummary]:
        dataset = load(config.dataset)
        return dataset, summarise(dataset)

    def split() -> _Splits:
        splits = make_splits(config.cv, dataset)
        split_warnings = check_splits(
            config.cv, dataset, splits, can_drop=hasattr(config.dataset, "drop")
        )
        return splits, split_warnings, make_nested_splits(config.cv, dataset)

    check_metrics(config.scoring)
    check_threshold_metric(config.decision, config.scoring)
    source = repr(replace(config.dataset, predict_rows=()))
    dataset, summary = _cached(
        _datasets,
        source,
        load_dataset,
        lambda with_summary: with_summary[0].X.nbytes + with_summary[0].y.nbytes,
    )
    if config.requires_complete_rows:
        dataset.check_complete()
    list_label_weights(config.training, dataset.label_names)
    splits, split_warnings, nested_splits = _cached(
        _splits,
        (repr(config.cv), dataset.digest),
        split,
        lambda made: sum(split.train.nbytes + split.test.nbytes for split in (*made[0], *made[2])),
    )
    dataset.check_predict_rows(config.dataset.predict_rows)
    _check_weighted(config, dataset)
    return EvaluationInputs(dataset, summary, splits, split_warnings, nested_splits)


def _check_weighted(config: Config, dataset: Dataset) -> None:
    """Raise UserError if metrics cannot take the weights, or that labels are not known."""
    scoring = config.scoring
    if scoring.weighted and dataset.sample_weight is None:
        raise UserError(
            "scoring.weighted: expected false, because the rows have no weights. Received: true. "
            "Name their column: dataset.weight_column=..."
        )
    names = [*scoring.metrics, config.decision.threshold_metric]
    check_own_arguments(
        names, is_masked=dataset.label_mask is not None, is_weighted=scoring.weighted
    )


def _cached(cache: dict[K, T], key: K, make: Callable[[], T], n_bytes: Callable[[T], int]) -> T:
    """Return a cached value, or make it; the cache keeps two values, or one if they are large."""
    if key not in cache:
        while len(cache) > 1 or sum(map(n_bytes, cache.values())) > MAX_CACHED_BYTES:
            del cache[next(iter(cache))]
        cache[key] = make()
    return cache[key]


FoldId = tuple[int, int] | Literal["final"]


class _Rows(NamedTuple):
    """Rows of fits that differ only in their seeds, the models of an ensemble."""

    train: NDArray[np.int32]
    valid: NDArray[np.int32]
    test: NDArray[np.int32]
    seeds: list[int]


def plan_fits(
    config: Config, dataset: Dataset, splits: Sequence[Split], nested_splits: Sequence[Split] = ()
) -> tuple[list[FitSpec], list[FoldPlan], FoldPlan]:
    """Plan all fits of a configuration.

    Folds of equal numbers have equal seeds, be they folds of all rows, outer folds, or folds of the
    training rows of an outer fold: there, a fit is what it would be if these were all rows.

    Returns:
        All fits, the plan of each fold, and the plan of the final model.

    Raises:
        UserError: If the training folds are too small for inner folds.
    """
    fit = partial(fit_preprocessors, config.preprocessing, dataset.X, dataset.schema)
    final_split, rows, final_fits = _plan_rows(config, dataset, splits, nested_splits)
    splits = [*splits, *nested_splits]
    outer: list[Preprocessor] = []
    for _, folds in groupby(zip(splits, rows, strict=True), key=lambda fold: fold[0].key[:2]):
        outer += fit([parts[0].train for _, parts in folds])
    outer += fit([final_fits[0].train], is_final=True)
    fits: list[FitSpec] = []
    plans = []
    for split, parts, preprocessor in zip(
        [*splits, final_split], [*rows, final_fits], outer, strict=True
    ):
        preprocessors = [preprocessor, *fit([part.train for part in parts[1:]])]
        ranges = []
        name = split.name if split.fold >= 0 else "the final model"
        for number, (part, learnt) in enumerate(zip(parts, preprocessors, strict=True)):
            first = len(fits)
            part_name = f"{name}, inner fold {number}" if number else name
            fits += [
                FitSpec(
                    *(seed, part.train, part.test, learnt, part.valid, part_name),
                    keeps_model=config.report.importance and number == 0 and not split.prefix,
                )
                for seed in part.seeds
            ]
            ranges.append(range(first, len(fits)))
        plans.append(FoldPlan(split, ranges[0], tuple(ranges[1:])))
    return fits, plans[:-1], plans[-1]


def list_train_sets(
    config: Config, dataset: Dataset, splits: Sequence[Split], nested_splits: Sequence[Split] = ()
) -> list[NDArray[np.int32]]:
    """Return the training rows of all fits but those that differ in their seeds."""
    _, rows, final_fits = _plan_rows(config, dataset, splits, nested_splits)
    return [part.train for parts in (*rows, final_fits) for part in parts]


def _plan_rows(
    config: Config, dataset: Dataset, splits: Sequence[Split], nested_splits: Sequence[Split]
) -> tuple[Split, list[list[_Rows]], list[_Rows]]:
    """Return the split of the final model, the rows of each fold, and those of the final model."""
    final_split = Split(-1, -1, final_rows(config, dataset, splits), NO_ROWS)
    rows = [_rows(config, dataset, (it.repeat, it.fold), it) for it in (*splits, *nested_splits)]
    return final_split, rows, _rows(config, dataset, "final", final_split)


def final_rows(config: Config, dataset: Dataset, splits: Sequence[Split]) -> NDArray[np.int32]:
    """Return the rows to train the final model on.

    Raises:
        UserError: If these are to be the training rows of several folds.
    """
    is_predefined = config.cv.kind == "predefined" and len(splits) == 1
    if (config.training.final_fit or ("train" if is_predefined else "all")) == "all":
        return np.arange(dataset.n_samples, dtype=np.int32)
    if len(splits) > 1:
        raise UserError(
            "training.final_fit: expected all, because each of the folds has other training rows. "
            f"Received: train, with {len(splits)} folds."
        )
    return splits[0].train


def _rows(config: Config, dataset: Dataset, fold_id: FoldId, split: Split) -> list[_Rows]:
    """Return the rows of the outer fits of a fold, then those of its inner folds."""
    parts = [(split.train, split.test)]
    if needs_inner(config.decision):
        inner, seed = config.decision.inner_cv, fit_seed(config.seed, fold_id)
        fraction = inner.validation_fraction
        parts += inner_splits(dataset, split.train, inner.n_splits, fraction, seed, config.cv)
    stopping = config.training.early_stopping
    can_stop = not isinstance(config.model, SklearnModelConfig)
    rows = []
    for number, (train, test) in enumerate(parts):
        seeds = [
            fit_seed(config.seed, fold_id, number, model_index)
            for model_index in range(config.model.ensemble_size)
        ]
        valid = NO_ROWS
        if stopping.patience is not None and can_stop:
            fraction, seed = stopping.validation_fraction, seeds[0]
            train, valid = validation_part(dataset, train, fraction, seed, config.cv)
        rows.append(_Rows(train, valid, test, seeds))
    return rows


def make_trainer(config: Config, dataset: Dataset, fits: Sequence[FitSpec]) -> Trainer:
    """Return the trainer for the configured kind of model.

    Raises:
        UserError: If the model or its training cannot be as configured.
    """
    training = list_label_weights(config.training, dataset.label_names)
    mask, weight = dataset.label_mask, dataset.sample_weight
    check_fits(fits, mask, weight)
    check_category_encoding(config, has_weights=weight is not None)
    if isinstance(config.model, EstimatorConfig):
        with heavy_imports():
            from pipeline.training.sklearn_trainer import SklearnTrainer

        X, y, names = dataset.X, dataset.y, dataset.label_names
        return SklearnTrainer(config.model, training, X, y, fits, names, mask, weight)

    cache_warnings = enable_program_cache()
    with heavy_imports():
        try:
            warnings = [*cache_warnings, *reset_keras()]
        except ValueError as error:  # imported with another backend
            raise UserError(str(error)) from error
        from pipeline.training.device import find_device

        device = find_device(deterministic=training.deterministic)  # before a model is built
        from pipeline.model.category_embeddings import embed_categories
        from pipeline.model.keras_builder import check_model, describe_compilation
        from pipeline.model.keras_models import build_model
        from pipeline.training.keras_trainer import KerasTrainer

    n_numeric = len(fits[-1].preprocessor.numeric)
    build: Callable[[int], Any] = partial(
        build_model, config.model, n_labels=dataset.n_labels, n_numeric=n_numeric
    )
    architecture = repr((config.model, dataset.n_labels))
    n_categories = [len(it.categories) for it in dataset.schema.columns if it.kind == "category"]
    if config.preprocessing.category_encoding == "embedding" and n_categories:
        build = embed_categories(build, n_categories)
        architecture += " with embeddings"
    if isinstance(config.model, KerasModelConfig):
        fit = fits[-1]
        model = build(fit.preprocessor.n_columns)
        rows = fit.preprocessor.transform(dataset.X[fit.train[:: -(-len(fit.train) // MAX_PROBES)]])
        check_model(config.model, model, rows)
        warnings += describe_compilation(config.model, model, training)
        architecture += code_version([config.model.builder])  # a notebook can reload it
    # A builder of the user can depend on anything, such as other files.
    code = None if isinstance(config.model, KerasModelConfig) else code_version()
    X, y = dataset.X, dataset.y
    return KerasTrainer(
        *(build, training, X, y, fits, architecture, warnings, mask, weight, device, code)
    )
