"""Evaluations made up for tests: random probabilities, no training."""

from dataclasses import replace

import numpy as np

from pipeline.config.schema import Config
from pipeline.cv.splitters import Split
from pipeline.dataset.dataset import Dataset
from pipeline.decision.tuning import fixed_rule
from pipeline.evaluation.evaluator import Evaluation, FoldResult
from pipeline.scoring.scorer import score
from pipeline.scoring.statistics import summarise

METRICS = "scoring.metrics=[accuracy,f1_macro,roc_auc_macro,average_precision_macro]"


def make_dataset(y, label_names=None, **fields) -> Dataset:
    """Return a table with these labels and two features of no meaning."""
    names = label_names or tuple(f"y{i}" for i in range(y.shape[1]))
    X = np.arange(2 * len(y), dtype=np.float32).reshape(-1, 2)
    return Dataset("made up", X, y.astype(np.int8), ("x0", "x1"), tuple(names), **fields)


def make_evaluation(
    config: Config, dataset: Dataset, *, n_folds: int = 4, n_repeats: int = 1, epochs: int = 3
) -> Evaluation:
    """Return an evaluation whose probabilities are drawn at random, but know something."""
    rng = np.random.default_rng(0)
    n = dataset.n_samples
    folds = []
    for repeat in range(n_repeats):
        order = rng.permutation(n) if repeat else np.arange(n)
        for fold, test in enumerate(np.array_split(order, max(n_folds, 2))[:n_folds]):
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
    return summarised(Evaluation(config, dataset, tuple(folds), {}, None))


def summarised(evaluation: Evaluation) -> Evaluation:
    """Return it with the summary of its folds' scores."""
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
