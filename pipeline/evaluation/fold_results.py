"""Fits and results of folds, their summary, and the result of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.cv import OUTER, Split, inner_prefix
from pipeline.dataset import Dataset
from pipeline.decision import DecisionRule
from pipeline.evaluation.racing import Decision, Race
from pipeline.model.saved_model import FinalModel
from pipeline.scoring import (
    MetricSummary,
    describe_metric,
    metric_range,
    short_name,
    summarise,
    summary_key,
)
from pipeline.training import mean_curve

Targets = tuple[NDArray[np.int8], NDArray[np.bool_] | None, NDArray[np.float32] | None]
"""Labels, where they are known (None if everywhere), and weights in metrics (None if equal)."""


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
    def fit_indices(self) -> list[int]:
        """Indices of all its fits, ascending."""
        return [index for part in (self.outer, *self.inner) for index in part]


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Predictions and scores of one fold.

    Attributes:
        split: Training and test rows.
        y_score: Probabilities of the test rows, calibrated if configured, of shape
            (n_test, n_labels).
        y_pred: 0/1 predictions of the test rows, of the same shape.
        rule: Calibration and thresholds, learnt from training rows only.
        scores: Score by metric name; NaN where undefined.
        n_undefined_labels: Labels that a macro metric skips as undefined, by metric name.
        loss: Training loss of each epoch, of shape (n_epochs,); empty for models without epochs.
        val_loss: Loss on the rows that early stopping monitors; empty without early stopping.
        test_loss: Loss after each epoch on test rows, at most a tenth as many as training rows;
            reported, never used for training.
        seconds: Training time of the fold.
        importance: Importance of the features, from `PermutationImportance.measure`; None unless
            it is configured.
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
    importance: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class OuterFold:
    """Scores of one outer fold of nested cross-validation.

    Attributes:
        split: Training and test rows.
        scores: Score on the test rows by metric name, trained on all training rows; NaN where
            undefined.
        inner: Summary of each metric over the folds of the training rows, by which one of several
            configurations is chosen.
        n_undefined_labels: Labels that a macro metric skips as undefined, by metric name.
    """

    split: Split
    scores: dict[str, float]
    inner: dict[str, MetricSummary]
    n_undefined_labels: dict[str, int]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of a configuration: all folds, their summary and the final model.

    Attributes:
        config: The configuration.
        dataset: The data set.
        folds: All trained folds, ordered by repeat and fold.
        summary: Summary of each metric over the folds, the headline metric first.
        final: The final model; None if racing stopped after the first repeat.
        race: The race against an incumbent, or None.
        decision: Its outcome, or None.
        n_fits: Number of fits of the whole evaluation.
        n_fits_skipped: Number of fits that racing skipped.
        warnings: Messages for the user about the training.
        outer: Scores of each outer fold; empty without `cv.outer_splits`.
        feature_groups: Columns that `FoldResult.importance` permutes together; empty without it.
    """

    config: Config
    dataset: Dataset
    folds: tuple[FoldResult, ...]
    summary: dict[str, MetricSummary]
    final: FinalModel | None
    race: Race | None = None
    decision: Decision | None = None
    n_fits: int = 0
    n_fits_skipped: int = 0
    warnings: tuple[str, ...] = ()
    outer: tuple[OuterFold, ...] = ()
    feature_groups: tuple[tuple[int, ...], ...] = ()

    @property
    def outer_summary(self) -> dict[str, MetricSummary]:
        """Summary of each metric over the outer folds; empty without any."""
        return summarise_folds(self.config, self.outer) if self.outer else {}

    def describe_outer_folds(self) -> str:
        """Return the headline over the outer folds in a sentence; empty without any."""
        if not self.outer:
            return ""
        score = describe_metric(*next(iter(self.outer_summary.items())))
        return (
            f"Outer folds ({len(self.outer)}): {score}, of this configuration. A sweep over "
            "several says what choosing among them is worth."
        )

    def targets(
        self, rows: NDArray[np.integer], train: NDArray[np.integer] | None = None
    ) -> Targets:
        """Return labels, mask and weights in metrics of some rows, see `targets`."""
        return targets(self.config, self.dataset, rows, train)

    def held_out_targets(self) -> Targets:
        """Return those of the test rows of all folds, one fold after the other."""
        splits = [fold.split for fold in self.folds]
        return join_targets([self.targets(split.test, split.train) for split in splits])

    @property
    def summary_names(self) -> list[str]:
        """Names of the statistics of each metric, as they are logged."""
        return [
            summary_key(name, statistic)
            for name, summary in self.summary.items()
            for statistic in summary.as_dict()
        ]

    def metrics(self) -> list[tuple[str, float, int]]:
        """Return name, value and step of each summary and of each loss curve.

        Those of the first repeat only have the prefix `first_repeat/`, so that nobody takes them
        for those of all folds.
        """
        prefix = "" if self.final else "first_repeat/"
        values = [
            (f"{prefix}{summary_key(name, statistic)}", value, 0)
            for name, summary in self.summary.items()
            for statistic, value in summary.as_dict().items()
        ]
        for name in ("loss", "val_loss", "test_loss"):
            curve = enumerate(mean_curve([getattr(fold, name) for fold in self.folds]), start=1)
            values += [(f"{prefix}epoch/{name}", float(loss), epoch) for epoch, loss in curve]
        for step, fold in enumerate(self.outer):
            values += [(f"outer/{name}", score, step) for name, score in fold.scores.items()]
            inner = fold.inner.items()
            values += [(f"outer/inner_{name}", each.mean, step) for name, each in inner]
        values += [
            (f"outer/{summary_key(name, statistic)}", value, 0)
            for name, summary in self.outer_summary.items()
            for statistic, value in summary.as_dict().items()
        ]
        if decision := self.decision:
            values += [("racing/advantage", decision.advantage, 0), ("racing/p", decision.p, 0)]
        if self.n_fits_skipped:
            values += [("fits_saved", self.n_fits_skipped, 0)]
        return values


def targets(
    config: Config,
    dataset: Dataset,
    rows: NDArray[np.integer],
    train: NDArray[np.integer] | None = None,
) -> Targets:
    """Return labels, mask and weights in metrics of some rows.

    Args:
        config: The configuration.
        dataset: The data set.
        rows: The rows.
        train: Training rows of the fold, those of early stopping among them: labels that none of
            these knows are masked, because nothing was learnt of them.
    """
    mask = dataset.label_mask
    weights = dataset.sample_weight if config.scoring.weighted else None
    if mask is not None:
        is_learnt = True if train is None else mask[train].any(axis=0)
        mask = mask[rows] & is_learnt
    return dataset.y[rows], mask, None if weights is None else weights[rows]


def join_targets(parts: Sequence[Targets]) -> Targets:
    """Concatenate labels, masks and weights."""
    y, mask, weights = zip(*parts, strict=True)
    return (
        np.concatenate(y),
        None if mask[0] is None else np.concatenate(mask),
        None if weights[0] is None else np.concatenate(weights),
    )


def summarise_folds(
    config: Config, folds: Sequence[FoldResult | OuterFold], dataset: Dataset | None = None
) -> dict[str, MetricSummary]:
    """Summarise each metric over folds, or over windows in order of time, the headline first."""
    test_fraction = float(np.mean([len(f.split.test) / len(f.split.train) for f in folds]))
    summary = {
        short_name(metric): summarise(
            [fold.scores[short_name(metric)] for fold in folds],
            test_fraction,
            sum(fold.n_undefined_labels.get(short_name(metric), 0) for fold in folds),
            metric_range(metric),
            has_order=config.cv.kind == "time_series",
        )
        for metric in config.scoring.metrics
    }
    if dataset and dataset.label_mask is not None and "accuracy" in summary:
        splits = [fold.split for fold in folds]
        masks = [targets(config, dataset, split.test, split.train)[1] for split in splits]
        n_partial_rows = int(sum(np.sum(~mask.all(axis=1)) for mask in masks if mask is not None))
        summary["accuracy"] = replace(summary["accuracy"], n_partial_rows=n_partial_rows)
    return summary


def summarise_outer_folds(config: Config, folds: Sequence[FoldResult]) -> tuple[OuterFold, ...]:
    """Return the scores of each outer fold, ordered by repeat and fold.

    Args:
        config: The configuration.
        folds: All folds of the run, nested ones among them.
    """
    by_prefix: dict[str, list[FoldResult]] = {}
    for fold in sorted(folds, key=lambda fold: fold.split.key):
        by_prefix.setdefault(fold.split.prefix, []).append(fold)
    return tuple(
        OuterFold(
            outer.split,
            outer.scores,
            summarise_folds(config, by_prefix[inner_prefix(outer.split)]),
            outer.n_undefined_labels,
        )
        for outer in by_prefix.get(OUTER, [])
    )
