"""The trainer of scikit-learn's estimators: one fit after another, or side by side in processes."""

import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.config import SklearnModelConfig, TrainingConfig
from pipeline.model.multilabel import MultilabelEnsemble, fit_labels
from pipeline.model.sklearn_models import check_model
from pipeline.model.skops_file import check_savable
from pipeline.runtime import n_cores
from pipeline.training.base import FitResult, FitSpec, Progress, Stopped

START_SECONDS = 4.0  # that processes take to start and import scikit-learn
N_TRIED = 200  # rows of a trial of the user's own estimator
NO_CURVE: NDArray[np.float64] = np.empty(0)


@dataclass(frozen=True, eq=False)
class _Done:
    place: int
    result: FitResult
    said: tuple[str, ...]


class SklearnTrainer:
    """Trains fits of one estimator on one table.

    A fit's result depends on its seed and its rows alone: each has one thread, in whatever process.
    """

    unit = "fits"
    units_per_fit = 1

    def __init__(
        self,
        config: SklearnModelConfig,
        training: TrainingConfig,
        X: NDArray[np.floating],
        y: NDArray[np.int8],
        fits: Sequence[FitSpec],
    ) -> None:
        """Try what can be tried without training.

        Args:
            config: Names the estimator.
            training: Of it only `class_weight` and `threads` say something of an estimator.
            X: Raw features of shape (n_samples, n_features).
            y: Labels of shape (n_samples, n_labels).
            fits: What to train.

        Raises:
            UserError: If the estimator cannot do what is asked of it, or could not be stored.
        """
        check_model(config, y.shape[1], training.class_weight)
        few = fits[-1].train[:: -(-len(fits[-1].train) // N_TRIED)]
        check_savable(config, fits[-1].preparation.transform(X[few]), y[few])
        self._config, self._training = config, training
        self._X, self._y, self._fits = X, y, fits
        self._threads = min(training.threads or n_cores(), len(fits))
        self._said: Counter[str] = Counter()
        self._stop = Event()

    @property
    def warnings(self) -> list[str]:
        """What the user should know of the training so far: settings without effect, warnings."""
        name = self._config.title
        fits = f"of {len(self._fits)} fits"
        return [
            *(f"{key} is for networks; {name} is trained without" for key in self._without()),
            *(f"in {n} {fits} {name} said: {said}" for said, n in self._said.most_common()),
        ]

    def compile(self) -> None:
        """Do nothing: there is nothing to compile."""

    def train(
        self, progress: Progress = lambda n: None, places: Sequence[int] | None = None
    ) -> Generator[FitResult]:
        """Yield what was trained, in the order of the fits, as soon as it is there.

        Args:
            progress: Called with the number of fits done since.
            places: Which fits, in ascending order; None for all.

        Raises:
            Stopped: After `stop`, as soon as the next fit is done.
        """
        self._stop.clear()
        places = range(len(self._fits)) if places is None else places
        trained = self._train(list(places))
        done: dict[int, FitResult] = {}
        try:
            for place in places:
                while place not in done:
                    new = next(trained)
                    done[new.place] = new.result
                    self._said.update(new.said)
                    progress(1)
                    if self._stop.is_set():
                        raise Stopped
                yield done.pop(place)
        finally:
            trained.close()

    def stop(self) -> None:
        """Let the training end after the fit that is done next."""
        self._stop.set()

    def final_model(self, members: Sequence[FitResult], fit: FitSpec) -> MultilabelEnsemble:
        """Return the model of one fit, or of several of one preparation, their answers averaged."""
        return MultilabelEnsemble(tuple(result.estimator for result in members))

    def _train(self, places: list[int]) -> Generator[_Done]:
        """Yield fits as they are done: first one by one, in processes as soon as that pays."""
        while places:
            done = self._fit(places.pop(0))
            yield done
            spared = done.result.seconds * len(places) * (1 - 1 / self._threads)
            if spared > START_SECONDS:
                break
        if places:
            yield from self._in_processes(places)

    def _in_processes(self, places: Sequence[int]) -> Iterator[_Done]:
        """Yield fits as they are done, whichever comes first; the table is memory-mapped."""
        parallel = Parallel(self._threads, backend="loky", return_as="generator_unordered")
        tasks = (
            delayed(_fit)(self._config, self._training, self._X, self._y, place, self._fits[place])
            for place in places
        )
        trained = parallel(tasks)
        try:
            yield from trained
        finally:
            trained.close()

    def _fit(self, place: int) -> _Done:
        return _fit(self._config, self._training, self._X, self._y, place, self._fits[place])

    def _without(self) -> list[str]:
        """Return settings that were given and that an estimator has no use for."""
        training = self._training
        given = {
            "training.early_stopping": training.early_stopping.patience is not None,
            f"training.loss={training.loss}": training.loss != "binary_crossentropy",
            "training.schedule": training.schedule is not None,
        }
        return [key for key, is_given in given.items() if is_given]


def _fit(
    config: SklearnModelConfig,
    training: TrainingConfig,
    X: NDArray[np.floating],
    y: NDArray[np.int8],
    place: int,
    fit: FitSpec,
) -> _Done:
    """Train and score one fit, in this process or another; only a final fit brings its estimator.

    Of a fit with rows to test nothing but their probabilities is wanted, and forests are large.
    """
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        prepared = fit.preparation.transform(X[fit.train])
        model = fit_labels(
            config, prepared, y[fit.train], seed=fit.seed, class_weight=training.class_weight
        )
        y_score = np.empty((0, y.shape[1]), dtype=np.float32)
        if len(fit.test):
            y_score = model(fit.preparation.transform(X[fit.test]))
    result = FitResult(
        y_score=y_score,
        loss=NO_CURVE,
        val_loss=NO_CURVE,
        test_loss=NO_CURVE,
        seconds=time.perf_counter() - began,
        estimator=None if len(fit.test) else model,
    )
    said = {f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in caught}
    return _Done(place, result, tuple(sorted(said)))
