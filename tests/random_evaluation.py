"""Evaluations for tests, with random probabilities instead of trained models."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.config.schema import Config
from pipeline.cv.splitters import Split
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.loading import load
from pipeline.decision.tuning import fixed_rule
from pipeline.evaluation.fold_results import Evaluation, FoldResult
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.scoring.scorer import score
from pipeline.scoring.statistics import summarise

METRICS = "scoring.metrics=[accuracy,f1_macro,roc_auc_macro,average_precision_macro]"
ALL_LABELS_IN_ALL_FOLDS = np.tile(np.eye(4, 3, dtype=np.int8), (10, 1))
UNUSUAL_NAMES = (
    "$\\alpha$ costs 5$",
    '<b>bold</b> & "quoted" {braces} % _under_ ^hat^ \\backslash',
    "a name of many words that goes on and on, up to sixty letters",
    "日本語のラベル 😀 العربية हिन्दी Ελληνικά",
)


def make_rare_labels() -> np.ndarray:
    """Return labels of 40 rows: one common, one in the first fold alone, one never present."""
    y = np.zeros((40, 3), dtype=np.int8)
    y[::2, 0] = 1
    y[[1, 4], 1] = 1
    return y


def make_dataset(y: np.ndarray, label_names: Sequence[str] | None = None, **fields: Any) -> Dataset:
    """Return a data set with these labels and two arbitrary features."""
    names = label_names or tuple(f"y{i}" for i in range(y.shape[1]))
    X = np.arange(2 * len(y), dtype=np.float32).reshape(-1, 2)
    schema = TableSchema.of_numbers(["x0", "x1"])
    return Dataset("random", X, y.astype(np.int8), schema, tuple(names), **fields)


def make_evaluation(
    config: Config, dataset: Dataset, *, n_folds: int = 4, n_repeats: int = 1, epochs: int = 3
) -> Evaluation:
    """Return an evaluation with random probabilities that are higher for true labels."""
    rng = np.random.default_rng(0)
    n = dataset.n_samples
    folds = []
    for repeat in range(n_repeats):
        rows = rng.permutation(n) if repeat else np.arange(n)
        for fold, test in enumerate(np.array_split(rows, max(n_folds, 2))[:n_folds]):
            y_true = dataset.y[test]
            y_score = (0.7 * rng.random(y_true.shape) + 0.3 * y_true).astype(np.float32)
            rule = fixed_rule(config.decision, dataset.n_labels)
            y_pred = rule.decide(y_score)
            scores = score(config.scoring, y_true, y_score, y_pred)
            losses = 1 / (1 + np.arange(epochs) + rng.random(epochs))
            folds.append(
                FoldResult(
                    split=Split(repeat, fold, np.setdiff1d(np.arange(n), test), test),
                    y_score=y_score,
                    y_pred=y_pred,
                    rule=rule,
                    scores=scores.values,
                    n_undefined_labels=scores.n_undefined_labels,
                    loss=losses,
                    val_loss=losses[:0],
                    test_loss=1.1 * losses,
                    seconds=0.1,
                )
            )
    return with_summary(Evaluation(config, dataset, tuple(folds), {}, None))


def random_evaluation(
    make_config: Callable[..., Config],
    y: np.ndarray | None = None,
    metrics: str = METRICS,
    n_folds: int = 4,
) -> Evaluation:
    """Return an evaluation of 40 synthetic rows, with these labels if any are given."""
    config = make_config("dataset.n_samples=40", metrics)
    dataset = load(config.dataset)
    if y is not None:
        dataset.y[:] = y
    return make_evaluation(config, dataset, n_folds=n_folds)


def with_summary(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the summary of the scores of its folds."""
    folds = evaluation.folds
    summary = {
        name: summarise(
            [fold.scores[name] for fold in folds],
            float(np.mean([len(fold.split.test) / len(fold.split.train) for fold in folds])),
            sum(fold.n_undefined_labels.get(name, 0) for fold in folds),
        )
        for name in folds[0].scores
    }
    return replace(evaluation, summary=summary)
