"""The one loop: every split is prepared, trained and scored; then the final model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, PythonModelConfig
from pipeline.cv import Split
from pipeline.dataset import Dataset
from pipeline.model import build_model, refuse_unsavable
from pipeline.preparation import Preparation, fit_preparation
from pipeline.scoring import Summary, apply_threshold, score, summarise
from pipeline.training import Fit, StackedTrainer, fit_seed


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold, trained and scored.

    Attributes:
        split: Its rows.
        y_score: Probabilities for its test rows, of shape (n_test, n_labels).
        y_pred: Decisions for them, int8, of the same shape.
        threshold: Probability above which each label is predicted, of shape (n_labels,).
        scores: Each metric by name; NaN where undefined.
        left_out: How many labels a macro metric does without, by name; only where there are some.
        loss: Loss on the training rows by epoch, of shape (epochs,).
        val_loss: Loss on the rows that decide when to stop; empty where none do.
        test_loss: Loss on the test rows by epoch, of shape (epochs,); looked at, never acted on.
        seconds: Its share of the training time.
    """

    split: Split
    y_score: NDArray[np.float32]
    y_pred: NDArray[np.int8]
    threshold: NDArray[np.floating]
    scores: dict[str, float]
    left_out: dict[str, int]
    loss: NDArray[np.floating]
    val_loss: NDArray[np.floating]
    test_loss: NDArray[np.floating]
    seconds: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is known once all folds and the final model are trained.

    Attributes:
        config: What was asked for.
        dataset: What it was tried on.
        folds: Every fold, by repeat and fold.
        summary: Each metric over all folds, the headline first.
        model: The final model, trained on all rows; takes what `preparation` makes of raw features.
        preparation: Learnt from all rows.
    """

    config: Config
    dataset: Dataset
    folds: tuple[FoldResult, ...]
    summary: dict[str, Summary]
    model: keras.Model
    preparation: Preparation


class Runner:
    """Runs one configuration on one data set."""

    def __init__(self, config: Config, dataset: Dataset, splits: list[Split]) -> None:
        """Build the model and lay out all fits, the final one last.

        Raises:
            UserError: If model or optimizer cannot be built as configured.
        """
        self._config, self._dataset, self._splits = config, dataset, splits
        self._build = partial(build_model, config.model, n_labels=dataset.n_labels)
        self._fits = self._make_fits()
        if isinstance(config.model, PythonModelConfig):
            refuse_unsavable(config.model, self._build(self._fits[-1].preparation.n_columns))
        self._trainer = StackedTrainer(
            self._build, config.training, dataset.X, dataset.y, self._fits
        )
        self._folds: list[FoldResult] = []
        self._model: keras.Model | None = None

    @property
    def n_epochs(self) -> int:
        """Epochs to train, summed over folds and the final fit."""
        return (len(self._splits) + 1) * self._config.training.epochs

    def compile(self) -> None:
        """Compile the training; may run in a thread while other things are made ready."""
        self._trainer.compile()

    def stop(self) -> None:
        """Let the training end early; `folds` raises `Stopped` then."""
        self._trainer.stop()

    def folds(self, progress: Callable[[int], None]) -> Iterator[FoldResult]:
        """Train everything and yield each fold, scored, as soon as it and those before it are done.

        Args:
            progress: Called from any thread with the number of epochs trained since.
        """
        trained = self._trainer.train(progress)
        for split, fitted in zip(self._splits, trained, strict=False):
            scores = score(self._config.scoring, self._dataset.y[split.test], fitted.y_score)
            threshold = self._config.scoring.threshold
            fold = FoldResult(
                split=split,
                y_score=fitted.y_score,
                y_pred=apply_threshold(fitted.y_score, threshold),
                threshold=np.full(self._dataset.n_labels, threshold),
                scores=scores.values,
                left_out=scores.left_out,
                loss=fitted.loss,
                val_loss=np.empty(0),
                test_loss=fitted.val_loss,
                seconds=fitted.seconds,
            )
            self._folds.append(fold)
            yield fold
        n_columns = self._fits[-1].preparation.n_columns
        self._model = next(trained).assign_to(self._build(n_columns))
        trained.close()

    def evaluation(self) -> Evaluation:
        """Return the whole result; call it when `folds` is exhausted."""
        if self._model is None:
            raise RuntimeError("Expected all folds to be trained. Received: a run under way.")
        return Evaluation(
            self._config,
            self._dataset,
            tuple(self._folds),
            self._summary(),
            self._model,
            self._fits[-1].preparation,
        )

    def _summary(self) -> dict[str, Summary]:
        test_share = float(np.mean([len(s.test) / len(s.train) for s in self._splits]))
        return {
            name: summarise(
                [fold.scores[name] for fold in self._folds],
                test_share,
                sum(fold.left_out.get(name, 0) for fold in self._folds),
            )
            for name in self._folds[0].scores
        }

    def _make_fits(self) -> list[Fit]:
        seed = self._config.seed
        folds = [
            self._fit(fit_seed(seed, (split.repeat, split.fold)), split.train, split.test)
            for split in self._splits
        ]
        rows = np.arange(self._dataset.n_samples)
        return [*folds, self._fit(fit_seed(seed, "final"), rows, rows[:0])]

    def _fit(self, seed: int, train: NDArray[np.int64], test: NDArray[np.int64]) -> Fit:
        preparation = fit_preparation(
            self._config.preparation, self._dataset.X, self._dataset.categories, train
        )
        return Fit(seed, train, test, preparation)
