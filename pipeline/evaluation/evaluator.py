"""Cross-validate one configuration, then fit the final model."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config, PythonModelConfig, SklearnModelConfig
from pipeline.cv import Split
from pipeline.dataset import Dataset
from pipeline.decision import DecisionRule, fixed_rule, learn_rule, needs_inner
from pipeline.evaluation.inputs import FoldPlan, plan_fits
from pipeline.preprocessing import Preparation
from pipeline.scoring import MetricSummary, check_finite, score, summarise
from pipeline.training import FitResult, FitSpec, mean_curve
from pipeline.training.base import Trainer


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold, trained and scored.

    Attributes:
        split: Its rows.
        y_score: Probabilities for its test rows, calibrated if asked for, of shape
            (n_test, n_labels).
        y_pred: What was decided by them, of the same shape.
        rule: Turned the model's answers into these; learnt from training rows alone.
        scores: Each metric by name; NaN where undefined.
        n_undefined_labels: Labels that a macro metric skips as undefined, by metric name.
        loss: Training loss by epoch, of shape (n_epochs,); empty for what has no epochs.
        val_loss: Loss on the part that early stopping watches; empty without it.
        test_loss: Loss on the test rows by epoch; looked at, never acted on.
        seconds: Its share of the training time.
    """

    split: Split
    y_score: NDArray[np.float32]
    y_pred: NDArray[np.int8]
    rule: DecisionRule
    scores: dict[str, float]
    n_undefined_labels: dict[str, int]
    loss: NDArray[np.floating]
    val_loss: NDArray[np.floating]
    test_loss: NDArray[np.floating]
    seconds: float


@dataclass(frozen=True, eq=False)
class FinalModel:
    """What new rows are given to.

    Attributes:
        model: Trained on all rows; takes what `preparation` makes of raw features.
        preparation: Learnt from the rows it was trained on.
        rule: Turns its answers into decisions; learnt from all rows.
    """

    model: Any
    preparation: Preparation
    rule: DecisionRule


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is known once all folds and the final model are trained.

    Attributes:
        config: What was asked for.
        dataset: What it was tried on.
        folds: Every fold, by repeat and fold.
        summary: Each metric over all folds, the headline first.
        final: The final model; None if only some of the folds were asked for.
    """

    config: Config
    dataset: Dataset
    folds: tuple[FoldResult, ...]
    summary: dict[str, MetricSummary]
    final: FinalModel | None


class Evaluator:
    """Runs one configuration on one data set."""

    def __init__(self, config: Config, dataset: Dataset, splits: list[Split]) -> None:
        """Build the model and lay out all fits, those of the final model last.

        Raises:
            UserError: If model or optimizer cannot be built as configured, or the training folds
                are too small to be divided again.
        """
        self._config, self._dataset, self._splits = config, dataset, splits
        self._fits, self._fold_plans, self._final_plan = plan_fits(config, dataset, splits)
        self._trainer = make_trainer(config, dataset, self._fits)
        self._folds: dict[tuple[int, int], FoldResult] = {}
        self._final: FinalModel | None = None

    @property
    def total(self) -> int:
        """Work of all fits, in units of `unit`."""
        return len(self._fits) * self._trainer.units_per_fit

    @property
    def unit(self) -> str:
        """What progress counts, such as epochs."""
        return self._trainer.unit

    @property
    def warnings(self) -> Sequence[str]:
        """What the user should know of the training so far."""
        return self._trainer.warnings

    @property
    def n_fits(self) -> int:
        """How many models there are to train in all."""
        return len(self._fits)

    @property
    def n_missing(self) -> int:
        """How many of them are not trained yet."""
        missing = [plan for plan in self._fold_plans if plan.fold_id not in self._folds]
        missing += [self._final_plan] if self._final is None else []
        return sum(len(plan.fit_indices) for plan in missing)

    def compile(self) -> None:
        """Compile the training; may run in a thread while other things are made ready."""
        self._trainer.compile()

    def stop(self) -> None:
        """Let the training end early; `folds` raises `Stopped` then."""
        self._trainer.stop()

    def folds(
        self,
        progress: Callable[[int], None],
        finished: Sequence[FoldResult] = (),
        repeats: Collection[int] | None = None,
    ) -> Iterator[FoldResult]:
        """Train and yield each fold, scored, as soon as it and those before it are done.

        The final model is trained with the last of the folds, whichever call trains them.

        Args:
            progress: Called from any thread with the work done since, in units of `unit`.
            finished: Folds that need no training; they are yielded as they are.
            repeats: Which repeats to train now; None for all.
        """
        self._folds.update({(f.split.repeat, f.split.fold): f for f in finished})
        wanted = [
            plan for plan in self._fold_plans if repeats is None or plan.fold_id[0] in repeats
        ]
        missing = [plan for plan in wanted if plan.fold_id not in self._folds]
        progress(
            self._trainer.units_per_fit
            * sum(len(w.fit_indices) for w in wanted if w not in missing)
        )
        last = {plan.fold_id for plan in self._fold_plans} <= {
            *self._folds,
            *(plan.fold_id for plan in missing),
        }
        everything = [*missing, self._final_plan] if last else missing
        fit_indices = [fold_id for plan in everything for fold_id in plan.fit_indices]
        trained = self._trainer.train(progress, fit_indices)
        for plan in wanted:
            if plan in missing:
                self._folds[plan.fold_id] = self._result(plan, trained)
            yield self._folds[plan.fold_id]
        if last:
            self._final = self._make_final(trained)
        trained.close()

    def evaluation(self) -> Evaluation:
        """Return the result; call it when `folds` is exhausted."""
        if not self._folds:
            raise RuntimeError("Expected trained folds. Received: a run that has not begun.")
        folds = tuple(self._folds[fold_id] for fold_id in sorted(self._folds))
        return Evaluation(self._config, self._dataset, folds, _summary(folds), self._final)

    def _result(self, plan: FoldPlan, trained: Iterator[FitResult]) -> FoldResult:
        outer = [next(trained) for _ in plan.outer]
        y_score, rule = _mean([result.y_score for result in outer]), self._rule(plan, trained)
        check_finite(y_score)
        y_score = rule.calibrate(y_score)
        y_pred = rule.decide(y_score)
        split = plan.split
        scores = score(self._config.scoring, self._dataset.y[split.test], y_score, y_pred)
        return FoldResult(
            split=split,
            y_score=y_score,
            y_pred=y_pred,
            rule=rule,
            scores=scores.values,
            n_undefined_labels=scores.n_undefined_labels,
            loss=mean_curve([result.loss for result in outer]),
            val_loss=mean_curve([result.val_loss for result in outer]),
            test_loss=mean_curve([result.test_loss for result in outer]),
            seconds=sum(result.seconds for result in outer),
        )

    def _rule(self, plan: FoldPlan, trained: Iterator[FitResult]) -> DecisionRule:
        """Return the decision rule, learnt from what the inner fits say of rows held from them."""
        config = self._config.scoring
        if not needs_inner(config):
            return fixed_rule(config, self._dataset.n_labels)
        y_true, y_score = [], []
        for fit_indices in plan.inner:
            ensemble = [next(trained).y_score for _ in fit_indices]
            y_score.append(_mean(ensemble))
            y_true.append(self._dataset.y[self._fits[fit_indices[0]].test])
        check_finite(np.concatenate(y_score))
        return learn_rule(config, np.concatenate(y_true), np.concatenate(y_score))

    def _make_final(self, trained: Iterator[FitResult]) -> FinalModel:
        plan = self._final_plan
        ensemble = [next(trained) for _ in plan.outer]
        fit = self._fits[plan.outer[0]]
        model = self._trainer.final_model(ensemble, fit)
        return FinalModel(model, fit.preparation, self._rule(plan, trained))


def _mean(ensemble: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of the members of an ensemble."""
    return ensemble[0] if len(ensemble) == 1 else np.mean(ensemble, axis=0, dtype=np.float32)


def _summary(folds: Sequence[FoldResult]) -> dict[str, MetricSummary]:
    test_fraction = float(np.mean([len(f.split.test) / len(f.split.train) for f in folds]))
    return {
        name: summarise(
            [fold.scores[name] for fold in folds],
            test_fraction,
            sum(fold.n_undefined_labels.get(name, 0) for fold in folds),
        )
        for name in folds[0].scores
    }


def make_trainer(config: Config, dataset: Dataset, fits: Sequence[FitSpec]) -> Trainer:
    """Return the trainer of the configuration's kind of model.

    Raises:
        UserError: If the model or how it is trained cannot be as configured.
    """
    if isinstance(config.model, SklearnModelConfig):
        from pipeline.training.sklearn_trainer import SklearnTrainer

        return SklearnTrainer(config.model, config.training, dataset.X, dataset.y, fits)

    from pipeline.model.keras_models import build_model, check_savable
    from pipeline.training.keras_trainer import KerasTrainer

    build = partial(build_model, config.model, n_labels=dataset.n_labels)
    if isinstance(config.model, PythonModelConfig):
        check_savable(config.model, build(fits[-1].preparation.n_columns))
    architecture = repr((config.model, dataset.n_labels))
    return KerasTrainer(build, config.training, dataset.X, dataset.y, fits, architecture)
