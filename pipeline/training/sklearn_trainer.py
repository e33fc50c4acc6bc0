"""Train all fits of a scikit-learn model, in this process or in several."""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from threading import Event
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipeline.config import SklearnModelConfig, TrainingConfig
from pipeline.errors import UserError, describe_exception
from pipeline.model.multilabel import FittedEstimator, MultilabelClassifier, MultilabelEnsemble
from pipeline.model.saved_model import check_savable, own_packages
from pipeline.model.sklearn_models import N_RARE, check_model, fit_labels
from pipeline.runtime import end_with_parent, n_cores
from pipeline.scoring.probabilities import TOLERANCE
from pipeline.training.base import FitResult, FitSpec, Progress, Stopped
from pipeline.user_code import lend, lent

START_SECONDS = 4.0  # time that processes take to start and import scikit-learn
N_TRIAL_ROWS = 200  # to test the user's own estimator with
MAX_MESSAGE = 300  # characters of an estimator's error


_Completed = tuple[int, FitResult, list[str], dict[int, str]]
"""The index of a fit, its result, its warnings, and the reason for each label it cannot learn."""


class SklearnTrainer:
    """Trains the fits of one estimator on one table.

    A result depends on the seed and the rows of its fit only: each fit has a single thread.
    """

    unit = "fits"
    units_per_fit = 1

    def __init__(
        self,
        config: SklearnModelConfig,
        training: TrainingConfig,
        X: NDArray[np.float32],
        y: NDArray[np.int8],
        fits: Sequence[FitSpec],
        label_names: Sequence[str] = (),
    ) -> None:
        """Check the estimator before any training.

        Args:
            config: The estimator and its parameters.
            training: Settings of the training; only `class_weight` and `n_threads` apply.
            X: Encoded features of shape (n_samples, n_features).
            y: Labels of shape (n_samples, n_labels).
            fits: All fits.
            label_names: Names of the labels, for messages.

        Raises:
            UserError: If the estimator does not support the configuration or cannot be saved.
        """
        check_model(config, y.shape[1], training.class_weight)
        rows = fits[-1].train[:: -(-len(fits[-1].train) // N_TRIAL_ROWS)]
        check_savable(config, fits[-1].preprocessor.transform(X[rows]), y[rows])
        self._config, self._training = config, training
        self._X, self._y, self._fits = X, y, fits
        self._n_threads = min(training.n_threads or n_cores(), len(fits))
        self._label_names = tuple(label_names or map(str, range(y.shape[1])))
        self._warning_counts: Counter[str] = Counter()
        self._failures: dict[int, dict[int, str]] = {}  # reasons by label and fit index
        self._stop = Event()

    @property
    def warnings(self) -> list[str]:
        """Labels not learnt, settings without effect, and warnings with the number of fits."""
        name, n_fits = self._config.title, len(self._fits)
        return [
            *map(self._describe_failures, sorted(self._failures)),
            *(f"{key} has no effect on {name}" for key in self._ignored_settings()),
            *(
                f"{name}, {n} of {n_fits} fits: {warning}"
                for warning, n in self._warning_counts.most_common()
            ),
        ]

    def compile(self) -> None:
        """Do nothing; scikit-learn needs no compilation."""

    def train(
        self, progress: Progress = lambda n: None, fit_indices: Sequence[int] | None = None
    ) -> Generator[FitResult]:
        """Yield the result of each fit, as `Trainer.train` does."""
        self._stop.clear()
        fit_indices = range(len(self._fits)) if fit_indices is None else fit_indices
        completed = self._train(list(fit_indices))
        results: dict[int, FitResult] = {}
        try:
            for fit_index in fit_indices:
                while fit_index not in results:
                    index, results[index], fit_warnings, failures = next(completed)
                    for label, reason in failures.items():
                        self._failures.setdefault(label, {})[index] = reason
                    self._warning_counts.update(fit_warnings)
                    progress(1)
                    if self._stop.is_set():
                        raise Stopped
                yield results.pop(fit_index)
        finally:
            completed.close()

    def stop(self) -> None:
        """Request an early end of the training, after the current fit."""
        self._stop.set()

    def final_model(self, ensemble: Sequence[FitResult], fit: FitSpec) -> Pipeline:
        """Return the pipeline of one fit, or of several whose probabilities are averaged."""
        classifier = MultilabelEnsemble([result.estimator for result in ensemble])
        return Pipeline([("preprocessor", fit.preprocessor), ("classifier", classifier)])

    def _train(self, fit_indices: list[int]) -> Generator[_Completed]:
        """Yield completed fits in any order.

        They run one after another in this process until their measured time shows that several
        processes would save more time than they take to start.
        """
        while fit_indices:
            completed = _fit(*self._arguments(fit_indices.pop(0)))
            yield completed
            seconds = completed[1].seconds * len(fit_indices)
            if seconds * (1 - 1 / self._n_threads) > START_SECONDS:
                break
        if fit_indices:
            yield from self._train_in_processes(fit_indices)

    def _train_in_processes(self, fit_indices: Sequence[int]) -> Iterator[_Completed]:
        """Yield fits in the order of completion; joblib shares the table as a memory map."""
        parallel = Parallel(self._n_threads, backend="loky", return_as="generator_unordered")
        given = lent([self._config.estimator])
        completed = parallel(
            delayed(_fit_for)(given, *self._arguments(index)) for index in fit_indices
        )
        try:
            yield from completed
        finally:
            completed.close()

    def _arguments(self, fit_index: int) -> tuple[Any, ...]:
        """Return the arguments of `_fit`."""
        fit = self._fits[fit_index]
        return self._config, self._training, self._X, self._y, fit_index, fit, self._label_names

    def _describe_failures(self, label: int) -> str:
        """Say that a label is not learnt in some fits, and what is predicted instead."""
        reasons = self._failures[label]
        first = min(reasons)
        return (
            f"{self._config.title} cannot learn label {self._label_names[label]!r} in "
            f"{len(reasons)} of {len(self._fits)} fits, such as {self._fits[first].name} "
            f"({reasons[first]}). Its frequency in the training rows is predicted there"
        )

    def _ignored_settings(self) -> list[str]:
        """Return the settings that differ from their defaults and apply to networks only."""
        training = self._training
        is_set = {
            "training.early_stopping": training.early_stopping.patience is not None,
            f"training.loss={training.loss}": training.loss != "binary_crossentropy",
            "training.lr_schedule": training.lr_schedule is not None,
        }
        return [key for key, differs in is_set.items() if differs]


def _fit_for(given: Mapping[str, Callable[..., Any]], *arguments: Any) -> _Completed:
    """Train one fit for another process; a killed one would leave this process behind."""
    end_with_parent()
    with lend(given):
        return _fit(*arguments)


def _fit(
    config: SklearnModelConfig,
    training: TrainingConfig,
    X: NDArray[np.float32],
    y: NDArray[np.int8],
    fit_index: int,
    fit: FitSpec,
    label_names: Sequence[str],
) -> _Completed:
    """Train and score one fit, in this process or another.

    Only a final fit, which has no test rows, returns its estimator: forests are large, and of a
    fold only the probabilities are needed.

    Raises:
        UserError: If the estimator learns no label, or predicts something else than probabilities.
    """
    began = time.perf_counter()
    failures: dict[int, Exception] = {}

    def leave_out(labels: Sequence[int], error: Exception) -> None:
        failures.update(dict.fromkeys(labels, error))

    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        prepared = fit.preprocessor.transform(X[fit.train])
        model = fit_labels(
            *(config, prepared, y[fit.train]),
            seed=fit.seed,
            class_weight=training.class_weight,
            on_failure=leave_out,
        )
        y_score = np.empty((0, y.shape[1]), dtype=np.float32)
        if len(fit.test):
            y_score = _predict(model, fit.preprocessor.transform(X[fit.test]), leave_out)
    reasons = {label: _describe(config, error) for label, error in failures.items()}
    learnt = {label for fitted in model.estimators for label in fitted.labels} - failures.keys()
    if failures and not learnt:
        label, error = next(iter(failures.items()))
        n_positive = int(y[fit.train, label].sum())
        if len(failures) > 1 or min(n_positive, len(fit.train) - n_positive) >= N_RARE:
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            raise UserError(
                f"model.estimator: {config.estimator} cannot learn label {label_names[label]!r}"
                f"{more} in {fit.name}: {reasons[label]}. Change model.params, the preprocessing "
                "or the model."
            ) from error
    _check_range(config, fit, y_score, label_names)
    result = FitResult(
        y_score=y_score,
        seconds=time.perf_counter() - began,
        estimator=None if len(fit.test) else model,
    )
    messages = {f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in caught}
    return fit_index, result, sorted(messages), reasons


def _predict(
    model: MultilabelClassifier,
    X: NDArray[np.float32],
    on_failure: Callable[[Sequence[int], Exception], object],
) -> NDArray[np.float32]:
    """Return probabilities of shape (n, n_labels); frequencies for labels without an answer."""
    y_score = np.tile(model.frequencies.astype(np.float32), (len(X), 1))
    for fitted in model.estimators:
        labels = np.array(fitted.labels)
        alone = FittedEstimator(tuple(range(len(labels))), fitted.estimator)
        try:
            answer = MultilabelClassifier((alone,), model.frequencies[labels])(X)
        except Exception as error:
            on_failure(labels.tolist(), error)
            continue
        is_nan = np.isnan(answer).any(axis=0)
        if is_nan.any():
            on_failure(labels[is_nan].tolist(), ValueError("predict_proba returned NaN"))
        y_score[:, labels[~is_nan]] = answer[:, ~is_nan]
    return y_score


def _check_range(
    config: SklearnModelConfig,
    fit: FitSpec,
    y_score: NDArray[np.float32],
    label_names: Sequence[str],
) -> None:
    outside = ((y_score < -TOLERANCE) | (y_score > 1 + TOLERANCE)).any(axis=0)
    if outside.any():
        label = int(outside.argmax())
        values = y_score[:, label]
        raise UserError(
            f"model.estimator: expected {config.estimator} to return probabilities in [0, 1]. "
            f"Received: from {values.min():.3g} to {values.max():.3g} for label "
            f"{label_names[label]!r} in {fit.name}. Calibrate it: model.calibration=sigmoid"
        )


def _describe(config: SklearnModelConfig, error: Exception) -> str:
    """Return the sentence of an estimator, with the line of code if it is the user's own."""
    text = f"{type(error).__name__}: {error}"
    if own_packages(config) and error.__traceback__:
        text = describe_exception(error)
    return " ".join(text.split())[:MAX_MESSAGE].rstrip(".")
