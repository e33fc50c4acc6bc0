"""Cross-validate one configuration, then fit the final model."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.cv import Split
from pipeline.dataset import Dataset
from pipeline.decision import DecisionRule, fixed_rule, learn_rule, needs_inner
from pipeline.evaluation.derived_inputs import derive_columns
from pipeline.evaluation.fold_results import (
    Evaluation,
    FoldPlan,
    FoldResult,
    join_targets,
    summarise_folds,
    summarise_outer_folds,
    targets,
)
from pipeline.evaluation.importance import PermutationImportance
from pipeline.evaluation.inputs import list_train_sets, make_trainer, plan_fits
from pipeline.evaluation.racing import Decision, Race
from pipeline.model.saved_model import FinalModel
from pipeline.runtime import release_memory
from pipeline.scoring import check_probabilities, score
from pipeline.training import FitResult, mean_curve
from pipeline.training.base import Device, fit_seed

N_CHECKED_ROWS = 20  # whose probabilities the final model must have


class Evaluator:
    """Cross-validates one configuration on one data set and fits the final model."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        splits: list[Split],
        nested_splits: Sequence[Split] = (),
    ) -> None:
        """Plan all fits, those of the final model last, and build the model.

        Args:
            config: The configuration.
            dataset: The data set.
            splits: The folds.
            nested_splits: Outer folds, and folds of their training rows.

        Raises:
            UserError: If model or optimizer cannot be built as configured, or the training folds
                are too small for inner folds.
        """
        self._config, self._dataset = config, dataset
        train_sets = partial(list_train_sets, config, dataset, splits, nested_splits)
        self._encoded = derive_columns(config.preprocessing, dataset, train_sets)
        self._fits, self._fold_plans, self._final_plan = plan_fits(
            config, self._encoded, splits, nested_splits
        )
        self._trainer = make_trainer(config, self._encoded, self._fits)
        self._importance = None
        if config.report.importance:
            self._importance = PermutationImportance(config, self._encoded)
        self._folds: dict[tuple[str, int, int], FoldResult] = {}
        self._final: FinalModel | None = None
        self._race: Race | None = None
        self._decision: Decision | None = None

    @property
    def total(self) -> int:
        """Number of units of progress of all fits."""
        return len(self._fits) * self._trainer.units_per_fit

    @property
    def unit(self) -> str:
        """Name of the unit of progress, such as epochs."""
        return self._trainer.unit

    @property
    def device(self) -> Device:
        """Processor that trains."""
        return self._trainer.device

    @property
    def warnings(self) -> Sequence[str]:
        """Messages for the user about the training so far."""
        return self._trainer.warnings

    @property
    def n_fits(self) -> int:
        """Number of fits, including those of inner folds and of the final model."""
        return len(self._fits)

    @property
    def n_missing(self) -> int:
        """Number of fits that are not trained yet."""
        missing = [plan for plan in self._fold_plans if plan.split.key not in self._folds]
        missing += [self._final_plan] if self._final is None else []
        return sum(len(plan.fit_indices) for plan in missing)

    def compile(self) -> None:
        """Compile the training; can run in a thread while other work goes on."""
        self._trainer.compile()

    def stop(self) -> None:
        """Request an early end of the training; `folds` then raises `Stopped`."""
        self._trainer.stop()

    def close(self) -> None:
        """Free the trainer, and with it the copy of the table on the device.

        The evaluator itself can outlive the job: frames of the import of TensorFlow hold it.
        """
        del self._trainer
        release_memory()

    def folds(
        self,
        progress: Callable[[int], None],
        finished: Sequence[FoldResult] = (),
        race: Race | None = None,
    ) -> Generator[FoldResult]:
        """Train and score the folds, and yield each in order as soon as it is available.

        The final model is trained with the last of the folds. Closing the generator ends the
        training.

        Args:
            progress: Called from any thread with the units of progress since the last call.
            finished: Folds of an interrupted run; they are yielded without training.
            race: A race after whose first repeat the training may stop.
        """
        self._folds.update({fold.split.key: fold for fold in finished})
        plans = self._fold_plans
        if race is not None:
            first = [plan for plan in plans if plan.split.repeat == 0]
            plans = [plan for plan in plans if plan.split.repeat > 0]
            yield from self._train(first, progress)
            self._race = race
            scores = [self._folds[plan.split.key].scores[race.metric] for plan in first]
            self._decision = race.decide(scores)
            if self._decision is not None and self._decision.stop:
                return
        yield from self._train(plans, progress)

    def _train(
        self, plans: Sequence[FoldPlan], progress: Callable[[int], None]
    ) -> Iterator[FoldResult]:
        """Train and yield some folds; the final model with the last of all folds."""
        missing = [plan for plan in plans if plan.split.key not in self._folds]
        n_finished = sum(len(plan.fit_indices) for plan in plans if plan not in missing)
        progress(n_finished * self._trainer.units_per_fit)
        is_last = len(self._folds) + len(missing) == len(self._fold_plans)
        to_train = [*missing, self._final_plan] if is_last else missing
        fit_indices = [index for plan in to_train for index in plan.fit_indices]
        with closing(self._trainer.train(progress, fit_indices)) as trained:
            for plan in plans:
                if plan in missing:
                    self._folds[plan.split.key] = self._result(plan, trained)
                yield self._folds[plan.split.key]
                self._forget_predictions(plan.split)
            if is_last:
                self._final = self._make_final(trained)

    def _forget_predictions(self, split: Split) -> None:
        """Keep the scores alone of a nested fold, because there can be very many of these."""
        if split.prefix:
            fold = self._folds[split.key]
            self._folds[split.key] = replace(fold, y_score=fold.y_score[:0], y_pred=fold.y_pred[:0])

    def evaluation(self) -> Evaluation:
        """Return the result, once `folds` is exhausted."""
        if not self._folds:
            raise RuntimeError("Iterate over folds() before calling evaluation().")
        of_all_rows = [key for key in sorted(self._folds) if not key[0]]
        folds = tuple(self._folds[key] for key in of_all_rows)
        return Evaluation(
            config=self._config,
            dataset=self._dataset,
            folds=folds,
            summary=summarise_folds(self._config, folds, self._dataset),
            outer=summarise_outer_folds(self._config, [*self._folds.values()]),
            final=self._final,
            race=self._race,
            decision=self._decision,
            n_fits=self.n_fits,
            n_fits_skipped=self.n_missing,
            warnings=tuple(self.warnings),
            feature_groups=self._importance.groups if self._importance else (),
        )

    def _result(self, plan: FoldPlan, trained: Iterator[FitResult]) -> FoldResult:
        outer = [next(trained) for _ in plan.outer]
        y_score, rule = _mean([result.y_score for result in outer]), self._rule(plan, trained)
        check_probabilities(y_score)
        y_score = rule.calibrate(y_score)
        y_pred = rule.decide(y_score)
        split = plan.split
        y_true, mask, weights = targets(self._config, self._dataset, split.test, split.train)
        scores = score(self._config.scoring, y_true, y_score, y_pred, mask, weights)
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
            importance=self._measure_importance(plan, outer, rule),
        )

    def _measure_importance(
        self, plan: FoldPlan, ensemble: Sequence[FitResult], rule: DecisionRule
    ) -> NDArray[np.float64] | None:
        split = plan.split
        if self._importance is None or split.prefix:  # of a nested fold, only the scores count
            return None
        fits = [self._fits[index] for index in plan.outer]

        def predict(X: NDArray[np.float32]) -> NDArray[np.float32]:
            pairs = zip(ensemble, fits, strict=True)
            return _mean([self._trainer.predict(result, fit, X) for result, fit in pairs])

        seed = fit_seed(self._config.seed, (split.repeat, split.fold))
        return self._importance.measure(split, seed, predict, rule)

    def _rule(self, plan: FoldPlan, trained: Iterator[FitResult]) -> DecisionRule:
        """Return the decision rule, learnt from the held-out rows of the inner folds."""
        config = self._config.decision
        if not needs_inner(config):
            return fixed_rule(config, self._dataset.n_labels)
        parts, held_out = [], []
        for fit_indices in plan.inner:
            ensemble = [next(trained).y_score for _ in fit_indices]
            parts.append(_mean(ensemble))
            fit = self._fits[fit_indices[0]]
            train = np.concatenate([fit.train, fit.valid])  # the rule of the outer folds
            held_out.append(targets(self._config, self._dataset, fit.test, train))
        y_score = np.concatenate(parts)
        check_probabilities(y_score)
        y_true, mask, weights = join_targets(held_out)
        return learn_rule(config, y_true, y_score, self._config.scoring, mask, weights)

    def _make_final(self, trained: Iterator[FitResult]) -> FinalModel:
        plan = self._final_plan
        ensemble = [next(trained) for _ in plan.outer]
        fit = self._fits[plan.outer[0]]
        model = self._trainer.final_model(ensemble, fit)
        final = FinalModel(
            model=model,
            rule=self._rule(plan, trained),
            schema=self._encoded.schema,
            label_names=self._dataset.label_names,
            requires_complete_rows=self._config.requires_complete_rows,
            n_train=len(plan.split.train),
            n_samples=self._dataset.n_samples,
            is_predefined=self._config.cv.kind == "predefined",
        )
        check_probabilities(final.predict_proba(self._encoded.X[plan.split.train[:N_CHECKED_ROWS]]))
        return final


def _mean(ensemble: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean probabilities of an ensemble."""
    return ensemble[0] if len(ensemble) == 1 else np.mean(ensemble, axis=0, dtype=np.float32)
