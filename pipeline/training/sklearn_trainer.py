"""Train all fits of a scikit-learn model, in this process or in several."""

import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipeline.config import BoostingConfig, EstimatorConfig, TrainingConfig
from pipeline.model import boosting_checks
from pipeline.model.multilabel import MultilabelEnsemble
from pipeline.model.saved_model import check_savable
from pipeline.model.sklearn_checks import check_model, check_takes_mask, check_takes_weights
from pipeline.runtime import n_cores
from pipeline.training.base import CPU, FitResult, FitSpec, Progress, Stopped
from pipeline.training.sklearn_fit import Completed, fit_for, fit_one, predict_labels
from pipeline.user_code import lent

START_SECONDS = 4.0  # time that processes take to start and import scikit-learn
N_TRIAL_ROWS = 200  # to test the user's own estimator with


class SklearnTrainer:
    """Trains the fits of one estimator on one table.

    A result depends on the seed and the rows of its fit only: each fit has a single thread.
    """

    device = CPU
    unit = "fits"
    units_per_fit = 1

    def __init__(
        self,
        config: EstimatorConfig,
        training: TrainingConfig,
        X: NDArray[np.float32],
        y: NDArray[np.int8],
        fits: Sequence[FitSpec],
        label_names: Sequence[str] = (),
        label_mask: NDArray[np.bool_] | None = None,
        sample_weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Check the estimator before any training.

        Args:
            config: The estimator and its parameters.
            training: Settings of the training; only class weights, `n_threads` and, to boosting,
                `early_stopping` apply.
            X: Encoded features of shape (n_samples, n_features).
            y: Labels of shape (n_samples, n_labels).
            fits: All fits.
            label_names: Names of the labels, for messages.
            label_mask: True where a label is known, of the shape of y; None if all are.
            sample_weight: Weights of the rows; None for 1.

        Raises:
            UserError: If the estimator does not support the configuration or cannot be saved.
        """
        self._is_divided = label_mask is not None and config.strategy == "native"
        if self._is_divided:  # one estimator of all labels cannot leave out single ones
            config = replace(config, strategy="binary_relevance")
        if isinstance(config, BoostingConfig):
            boosting_checks.check_model(config, training)
        else:
            check_model(config, y.shape[1], training.class_weight)
            if label_mask is not None:
                check_takes_mask(config)
            if sample_weight is not None:
                check_takes_weights(config)
            rows = fits[-1].train[:: -(-len(fits[-1].train) // N_TRIAL_ROWS)]
            check_savable(config, fits[-1].preprocessor.transform(X[rows]), y[rows])
        self._config, self._training = config, training
        self._X, self._y, self._fits = X, y, fits
        self._label_mask, self._sample_weight = label_mask, sample_weight
        self._n_threads = min(training.n_threads or n_cores(), len(fits))
        self._label_names = tuple(label_names or map(str, range(y.shape[1])))
        self._warning_counts: Counter[str] = Counter()
        self._failures: dict[int, dict[int, str]] = {}  # reasons by label and fit index
        self._stop = Event()

    @property
    def warnings(self) -> list[str]:
        """Labels not learnt, settings without effect, and warnings with the number of fits."""
        name, n_fits = self._config.title, len(self._fits)
        divided = (
            f"{name} fits one estimator per label instead of one of all labels, because labels are "
            "missing (model.strategy=binary_relevance)"
        )
        return [
            *([divided] if self._is_divided else []),
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

    def predict(
        self, result: FitResult, fit: FitSpec, X: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return probabilities as `Trainer.predict` does, without the warnings of the fit again.

        Blocks of rows share the threads, but for estimators of the user's own, which may not be
        made for several at once.
        """
        is_own = not self._config.estimator.startswith("sklearn.")

        def predict(block: NDArray[np.float32]) -> NDArray[np.float32]:
            prepared = fit.preprocessor.transform(block)
            return predict_labels(result.estimator, prepared, lambda *_: None)

        blocks = np.array_split(X, 1 if is_own else min(self._n_threads, len(X)))
        with (
            warnings.catch_warnings(),
            threadpool_limits(1),
            ThreadPoolExecutor(len(blocks)) as executor,
        ):
            warnings.simplefilter("ignore")
            return np.concatenate(list(executor.map(predict, blocks)))

    def final_model(self, ensemble: Sequence[FitResult], fit: FitSpec) -> Pipeline:
        """Return the pipeline of one fit, or of several whose probabilities are averaged."""
        classifier = MultilabelEnsemble([result.estimator for result in ensemble])
        return Pipeline([("preprocessor", fit.preprocessor), ("classifier", classifier)])

    def _train(self, fit_indices: list[int]) -> Generator[Completed]:
        """Yield completed fits in any order.

        They run one after another in this process until their measured time shows that several
        processes would save more time than they take to start.
        """
        while fit_indices:
            completed = fit_one(*self._arguments(fit_indices.pop(0)))
            yield completed
            seconds = completed[1].seconds * len(fit_indices)
            if seconds * (1 - 1 / self._n_threads) > START_SECONDS:
                break
        # Kept models pile up if they are used more slowly than trained, so few are trained ahead.
        keeps_models = any(self._fits[index].keeps_model for index in fit_indices)
        n_ahead = 2 * self._n_threads if keeps_models else max(len(fit_indices), 1)
        for start in range(0, len(fit_indices), n_ahead):
            yield from self._train_in_processes(fit_indices[start : start + n_ahead])

    def _train_in_processes(self, fit_indices: Sequence[int]) -> Iterator[Completed]:
        """Yield fits in the order of completion; joblib shares the table as a memory map."""
        parallel = Parallel(self._n_threads, backend="loky", return_as="generator_unordered")
        given = lent([self._config.estimator])
        completed = parallel(
            delayed(fit_for)(given, *self._arguments(index)) for index in fit_indices
        )
        try:
            yield from completed
        finally:
            completed.close()

    def _arguments(self, fit_index: int) -> tuple[Any, ...]:
        """Return the arguments of `fit_one`."""
        return (
            *(self._config, self._training, self._X, self._y),
            *(fit_index, self._fits[fit_index], self._label_names),
            *(self._label_mask, self._sample_weight),
        )

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
        can_stop = isinstance(self._config, BoostingConfig)
        is_set = {
            "training.early_stopping": not can_stop
            and training.early_stopping.patience is not None,
            f"training.loss={training.loss}": training.loss != "binary_crossentropy",
            "training.label_weights": training.label_weights is not None,
            "training.lr_schedule": training.lr_schedule is not None,
        }
        return [key for key, differs in is_set.items() if differs]
