"""Check of an evaluation against label frequencies and a logistic regression on its folds."""

from collections.abc import Iterator
from functools import cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, stdtr
from threadpoolctl import ThreadpoolController

from pipeline.checks.finding import Finding
from pipeline.cv import split_digest
from pipeline.errors import UserError
from pipeline.evaluation.fold_results import Evaluation
from pipeline.preprocessing import fit_preprocessors
from pipeline.scoring import (
    choose_decimals,
    corrected_error,
    find_metric,
    format_number,
    lower_is_better,
    metric_title,
    short_name,
)

ALPHA = 0.05
N_ITERATIONS = 20  # of the logistic regression; later ones hardly change its scores
MAX_FRACTION = 0.1  # of the multiplications of the training
FREE = 10**9  # multiplications that take about half a second
MAX_CELLS = 2**27  # of features, which a logistic regression copies in float64

Floats = NDArray[np.float64]

_logistic_scores: dict[str, Floats] = {}  # of the jobs of this process


def check_baselines(evaluation: Evaluation) -> Iterator[Finding]:
    """Find models no better than the label frequencies, or worse than a logistic regression.

    Both learn from the training rows of each fold. The logistic regression is fitted if this takes
    few multiplications in comparison with the training, so that no finding depends on the machine.
    """
    name = short_name(evaluation.config.scoring.metrics[0])
    scores = np.array([fold.scores[name] for fold in evaluation.folds])
    try:
        frequencies = _score(evaluation, _predict_frequencies(evaluation))
        is_cheap = len(scores) > 1 and _is_cheap(evaluation)
        linear = _score_logistic(evaluation) if is_cheap else scores
    except UserError:  # of the user's own metric, which need not cope with constant predictions
        return
    is_poor = _p_not_better(evaluation, scores, frequencies) > ALPHA
    is_worse = _p_not_better(evaluation, linear, scores) <= ALPHA
    if not is_poor and not is_worse:
        return
    decimals = choose_decimals(float(np.nanmean(scores)), float(np.nanstd(scores)))
    mean, of_frequencies, of_linear = (
        format_number(float(np.nanmean(values)), decimals)
        for values in (scores, frequencies, linear)
    )
    surely = "in every window" if evaluation.config.cv.kind == "time_series" else "significantly"
    if is_poor:
        yield Finding(
            "MF001",
            f"{metric_title(name)} {mean} is not {surely} better than {of_frequencies}, that of "
            "predicting the label frequencies of the training rows for every row"
            + (f"; a logistic regression has {of_linear}" if is_worse else ""),
            "Look at features and labels with the command describe, "
            + (
                "or try another model, such as model=mlp"
                if evaluation.config.model.kind in ("sklearn", "boosting")
                else "train longer with training.epochs=..., or try another model, such as "
                "model=logistic"
            ),
        )
    else:
        yield Finding(
            "MF001",
            f"{metric_title(name)} {mean} is {surely} worse than {of_linear}, that of a logistic "
            "regression on the same folds",
            "Take model=logistic, or train longer, with less regularisation or with another "
            "training.learning_rate",
        )


def _p_not_better(evaluation: Evaluation, first: Floats, second: Floats) -> float:
    """Return the one-sided p-value of the first scores' mean advantage; NaN if undefined.

    Windows of a time series have no such test: it is 0 if the first is better in all, else 1.
    """
    config, name = evaluation.config.scoring, short_name(evaluation.config.scoring.metrics[0])
    advantages = (
        second - first if lower_is_better(name, config.greater_is_better) else first - second
    )
    advantages = advantages[np.isfinite(advantages)]
    if not len(advantages):
        return np.nan
    if evaluation.config.cv.kind == "time_series":
        return float(not (advantages > 0).all())
    if (mean := float(advantages.mean())) <= 0:
        return 1.0
    sizes = [(len(fold.split.train), len(fold.split.test)) for fold in evaluation.folds]
    n_train, n_test = np.mean(sizes, axis=0)
    if len(advantages) == 1 or (error := corrected_error(advantages, n_test / n_train)) == 0:
        return 0.0
    return float(stdtr(len(advantages) - 1, -mean / error))


def _score(evaluation: Evaluation, predictions: Iterator[NDArray[np.float32]]) -> Floats:
    """Return the first metric of the probabilities of each fold."""
    config = evaluation.config.scoring
    metric = find_metric(config.metrics[0], config.zero_division)
    scores = [
        metric(y_true, y_score, (y_score > 0.5).astype(np.int8), *given)
        for fold, y_score in zip(evaluation.folds, predictions, strict=True)
        for y_true, *given in [evaluation.targets(fold.split.test, fold.split.train)]
    ]
    return np.array(scores)


def _score_logistic(evaluation: Evaluation) -> Floats:
    """Return the scores of the logistic regressions, fitted once for all jobs of a sweep.

    They depend on data, folds, preprocessing and metric, which most jobs have in common. The user's
    own metrics are computed anew, as a notebook can reload them.
    """
    config, dataset = evaluation.config, evaluation.dataset
    metric, folds = config.scoring.metrics[0], split_digest([it.split for it in evaluation.folds])
    scoring = metric, config.scoring.zero_division, config.scoring.weighted
    key = repr((dataset.digest, folds, config.preprocessing, scoring))
    if "." in metric or key not in _logistic_scores:
        _logistic_scores[key] = _score(evaluation, _predict_logistic(evaluation))
    return _logistic_scores[key]


def _predict_frequencies(evaluation: Evaluation) -> Iterator[NDArray[np.float32]]:
    for fold in evaluation.folds:
        y, mask, _ = evaluation.targets(fold.split.train)
        weights = np.ones_like(y) if mask is None else mask
        rates = (y.sum(axis=0) / np.maximum(weights.sum(axis=0), 1)).astype(np.float32)
        yield np.tile(rates, (len(fold.split.test), 1))


def _is_cheap(evaluation: Evaluation) -> bool:
    """Return whether a logistic regression takes few multiplications."""
    dataset, folds = evaluation.dataset, evaluation.folds
    n_columns = sum(max(1, len(column.categories)) for column in dataset.schema.columns)
    n_rows = sum(len(fold.split.train) for fold in folds)
    if dataset.X.size > MAX_CELLS:
        return False
    n_multiplications = 2 * N_ITERATIONS * n_rows * n_columns * dataset.n_labels
    n_of_training = 0  # not counted, of scikit-learn's models
    if evaluation.final and hasattr(evaluation.final.model, "count_params"):
        n_passes = sum(len(fold.loss) * len(fold.split.train) for fold in folds)
        n_of_training = 3 * n_passes * evaluation.final.model.count_params()  # and two gradients
    return n_multiplications <= max(FREE, MAX_FRACTION * n_of_training)


def _predict_logistic(evaluation: Evaluation) -> Iterator[NDArray[np.float32]]:
    """Fit a logistic regression to the preprocessed training rows of each fold."""
    dataset, config = evaluation.dataset, evaluation.config.preprocessing
    splits = [fold.split for fold in evaluation.folds]
    for _, group in groupby(splits, key=lambda split: split.repeat):
        folds = [*group]
        preprocessors = fit_preprocessors(
            config, dataset.X, dataset.schema, [fold.train for fold in folds]
        )
        for fold, preprocessor in zip(folds, preprocessors, strict=True):
            X = preprocessor.transform(dataset.X[np.r_[fold.train, fold.test]]).astype(np.float64)
            n_train = len(fold.train)
            y, mask, _ = evaluation.targets(fold.train)
            y_score = predict_logistic(X[:n_train], y, X[n_train:], mask)
            yield y_score.astype(np.float32)


def predict_logistic(
    X: Floats, y: NDArray[np.int8], X_test: Floats, mask: NDArray[np.bool_] | None = None
) -> Floats:
    """Return probabilities of logistic regressions, one per label, fitted together by L-BFGS.

    Features are standardised; the penalty is that of scikit-learn's default, C=1.

    Args:
        X: Features of the training rows, of shape (n_samples, n_features).
        y: Their labels, of shape (n_samples, n_labels).
        X_test: Features of the rows to predict, of shape (n_test, n_features).
        mask: True where a label is known, of the shape of `y`; None if all are.
    """
    mean, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale < 1e-6] = 1.0

    def with_intercept(rows: Floats) -> Floats:
        return np.column_stack([np.ones(len(rows)), (rows - mean) / scale])

    design = with_intercept(X)
    start = np.zeros((design.shape[1], y.shape[1]))
    n_rows = len(y) if mask is None else mask.sum(axis=0)
    start[0] = logit((y.sum(axis=0) + 0.5) / (n_rows + 1))

    def loss(weights: Floats) -> tuple[float, Floats]:
        weights = weights.reshape(start.shape)
        logits = design @ weights
        penalty = np.vstack([np.zeros(start.shape[1]), weights[1:]])
        losses, errors = np.logaddexp(0, logits) - y * logits, expit(logits) - y
        if mask is not None:
            losses, errors = losses * mask, errors * mask
        value = losses.sum() + (penalty**2).sum() / 2
        return value, (design.T @ errors + penalty).ravel()

    options = {"maxiter": N_ITERATIONS}
    with _thread_pools().limit(limits=1):  # threads slow such small products down
        fitted = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    probabilities: Floats = expit(with_intercept(X_test) @ fitted.x.reshape(start.shape))
    return probabilities


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the thread pools of the loaded libraries; to find them takes as long as a fit."""
    return ThreadpoolController()
