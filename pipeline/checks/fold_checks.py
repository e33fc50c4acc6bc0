"""Checks of an evaluation: its predictions, learning curves and decisions."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from pipeline.checks.baselines import check_baselines
from pipeline.checks.data_checks import check_data
from pipeline.checks.finding import Finding, count_of, list_names, select
from pipeline.dataset import DataSummary
from pipeline.evaluation.fold_results import Evaluation, FoldResult, join_targets
from pipeline.scoring import corrected_error
from pipeline.scoring.classification_metrics import expected_calibration_error

MAX_LOSS_RATIO = 2.0  # of held-out to training loss
REGULARISATION = {  # settings of each network against learning by heart
    "mlp": "model.dropout=0.3 or model.l2=0.001",
    "mlp_plr": "model.dropout=0.5 or fewer model.hidden_units",
    "tabm": "model.dropout=0.3 or fewer model.hidden_units",
    "resnet": "model.hidden_dropout=0.5 or fewer model.hidden_units",
    "keras": "dropout in your model, or training.early_stopping.patience=10",
}
MIN_RISE = 0.05  # of the held-out loss from its lowest value, relative to it
MIN_T = 3.0
EDGE = 0.02  # distance of a threshold from 0 or 1
MIN_MISCALIBRATION = 0.05
N_SIMULATIONS = 20
MAX_CELLS = 1_000_000  # predictions whose labels are simulated; of more, those of some rows
MIN_SIMULATED = 100  # rows
MIN_CASES = 5
MIN_ROWS = 10  # with a label, from which on they may be expected in more than one fold
MIN_FOLDS = 4
MAX_CHANCE = 0.01  # that folds drawn by chance have any label concentrated like that
MIN_PREDICTED = 0.95  # of the rows, from which on a label is always predicted

Floats = NDArray[np.float64]


def check_run(evaluation: Evaluation, summary: DataSummary) -> list[Finding]:
    """Return the findings of all checks that are not ignored; none if racing stopped the run.

    Args:
        evaluation: The evaluation.
        summary: Summary of its data set.
    """
    if evaluation.final is None:
        return []
    config, splits = evaluation.config, [fold.split for fold in evaluation.folds]
    findings = check_data(config, evaluation.dataset, summary, splits)
    return select([*findings, *check_evaluation(evaluation)], config.checks.ignore)


def check_evaluation(evaluation: Evaluation) -> list[Finding]:
    """Check the predictions, learning curves and decisions of all folds."""
    checks: tuple[Callable[[Evaluation], Iterator[Finding]], ...] = (
        check_baselines,
        _check_losses,
        _check_thresholds,
        _check_calibration,
        _check_never_predicted,
        _check_always_predicted,
        _check_concentrated,
    )
    return [finding for check in checks for finding in check(evaluation)]


def _check_losses(evaluation: Evaluation) -> Iterator[Finding]:
    """Compare held-out and training loss, and the held-out loss with its lowest value."""
    config, folds = evaluation.config, evaluation.folds
    if config.training.early_stopping.patience is not None:
        return
    if not all(len(fold.loss) and len(fold.loss) == len(fold.test_loss) for fold in folds):
        return
    held_out = np.stack([fold.test_loss for fold in folds]).astype(np.float64)
    best = int(held_out.mean(axis=0).argmin())
    lowest, rises = held_out[:, best].mean(), held_out[:, -1] - held_out[:, best]
    test_fraction = float(np.mean([len(f.split.test) / len(f.split.train) for f in folds]))
    error = corrected_error(rises, test_fraction) if len(rises) > 1 else 0.0
    if rises.mean() > MIN_RISE * lowest and rises.mean() > MIN_T * error:
        yield Finding(
            "MF003",
            f"the held-out loss rises from {lowest:.3g} after epoch {best + 1} to "
            f"{held_out[:, -1].mean():.3g} after epoch {held_out.shape[1]}",
            "Stop earlier: training.early_stopping.patience=10",
        )
        return
    last = float(np.mean([fold.loss[-1] for fold in folds]))
    ratio = held_out[:, -1].mean() / last if last > 0 else np.inf
    if ratio > MAX_LOSS_RATIO:
        yield Finding(
            "MF002",
            f"the held-out loss, {held_out[:, -1].mean():.3g}, is {ratio:.1f} times the training "
            f"loss, {last:.3g}",
            f"The model learns training rows by heart; try {REGULARISATION[config.model.kind]}",
        )


def _check_thresholds(evaluation: Evaluation) -> Iterator[Finding]:
    if not isinstance(evaluation.config.decision.threshold, str):
        return
    thresholds = np.stack([fold.rule.threshold for fold in evaluation.folds])
    is_edge = ((thresholds < EDGE) | (thresholds > 1 - EDGE)).mean(axis=0) > 0.5
    if is_edge.any():
        names = list_names(evaluation.dataset.label_names[j] for j in np.flatnonzero(is_edge))
        yield Finding(
            "MF010",
            "tuned thresholds at the edge of 0 to 1 for "
            f"{count_of(int(is_edge.sum()), len(is_edge), 'label')}: {names}",
            "Such labels are always or never predicted; decision.threshold=global is steadier, or "
            "choose another decision.threshold_metric",
        )


def _check_calibration(evaluation: Evaluation) -> Iterator[Finding]:
    """Compare the calibration error with that of labels expected from the probabilities."""
    y_true, y_pred, mask = _first_repeat(evaluation)
    y_score = np.concatenate([fold.y_score for fold in _folds_of_first_repeat(evaluation)])
    n_rows, rng = len(y_true), np.random.default_rng(0)
    if n_rows > (n_used := max(MIN_SIMULATED, MAX_CELLS // y_true.shape[1])):
        rows = rng.choice(n_rows, n_used, replace=False)
        y_true, y_score, y_pred = y_true[rows], y_score[rows], y_pred[rows]
        mask = None if mask is None else mask[rows]
    error = expected_calibration_error(y_true, y_score, y_pred, mask)
    expected = [
        expected_calibration_error(
            (rng.random(y_score.shape) < y_score).astype(np.int8), y_score, y_pred, mask
        )
        for _ in range(N_SIMULATIONS)
    ]
    if error > max(expected) + MIN_MISCALIBRATION:
        config = evaluation.config
        remedy = "Calibrate: decision.calibration=temperature"
        if config.decision.calibration or config.model.kind == "sklearn":
            remedy = "Rank by them rather than read them as frequencies"
        if config.model.kind == "sklearn" and config.model.calibration == "none":
            remedy = "Calibrate: model.calibration=sigmoid"
        yield Finding(
            "MF011",
            f"probabilities differ from frequencies by {error:.3f} on average (calibrated ones "
            f"would by {np.mean(expected):.3f})",
            remedy,
        )


def _folds_of_first_repeat(evaluation: Evaluation) -> list[FoldResult]:
    first = evaluation.folds[0].split.repeat
    return [fold for fold in evaluation.folds if fold.split.repeat == first]


def _first_repeat(
    evaluation: Evaluation,
) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.bool_] | None]:
    """Return labels, predicted labels and mask of the first repeat's test rows."""
    folds = _folds_of_first_repeat(evaluation)
    splits = [fold.split for fold in folds]
    y_true, mask, _ = join_targets([evaluation.targets(it.test, it.train) for it in splits])
    return y_true, np.concatenate([fold.y_pred for fold in folds]), mask


def _check_never_predicted(evaluation: Evaluation) -> Iterator[Finding]:
    is_predicted = np.any([fold.y_pred.any(axis=0) for fold in evaluation.folds], axis=0)
    tested = np.concatenate([fold.split.test for fold in evaluation.folds])
    tested = np.flatnonzero(np.bincount(tested))  # np.unique would sort
    n_true = evaluation.dataset.y[tested].sum(axis=0, dtype=np.int64)
    never = np.flatnonzero(~is_predicted & (n_true >= MIN_CASES))
    if len(never):
        names = list_names(f"{evaluation.dataset.label_names[j]} ({n_true[j]} rows)" for j in never)
        yield Finding(
            "MF015",
            f"no prediction, ever, of {count_of(len(never), len(n_true), 'label')}: {names}",
            (
                "Weight"
                if _is_tuned(evaluation)
                else "Tune the thresholds, decision=tuned, or weight"
            )
            + " rare labels, training.class_weight=balanced",
        )


def _check_always_predicted(evaluation: Evaluation) -> Iterator[Finding]:
    """Find labels that are predicted for about all rows and have no better F1 than that."""
    y_true, y_pred, mask = _first_repeat(evaluation)
    n_rows = np.full(y_true.shape[1], len(y_true))
    if mask is not None:
        n_rows, y_pred = mask.sum(axis=0), y_pred & mask
    n_true, n_predicted = y_true.sum(axis=0, dtype=int), y_pred.sum(axis=0, dtype=int)
    f1 = 2 * (y_true & y_pred).sum(axis=0) / np.maximum(n_true + n_predicted, 1)
    always = 2 * n_true / np.maximum(n_true + n_rows, 1)
    is_useless = (n_predicted >= MIN_PREDICTED * n_rows) & (f1 <= always + 0.01)
    is_useless &= n_true < n_rows
    labels = np.flatnonzero(is_useless)
    if len(labels):
        names = list_names(
            f"{evaluation.dataset.label_names[j]} (F1 {f1[j]:.3f}, always yes {always[j]:.3f})"
            for j in labels
        )
        yield Finding(
            "MF016",
            f"the F1 of {count_of(len(labels), len(f1), 'label')} is that of always saying yes, as "
            f"nearly every row is predicted to have it: {names}",
            "Judge them by ROC AUC or average precision"
            + ("" if _is_tuned(evaluation) else ", and tune the thresholds: decision=tuned"),
        )


def _is_tuned(evaluation: Evaluation) -> bool:
    """Return whether the thresholds are tuned already."""
    return isinstance(evaluation.config.decision.threshold, str)


def _check_concentrated(evaluation: Evaluation) -> Iterator[Finding]:
    """Find labels most of whose rows are test rows of one fold, on which their scores hang."""
    splits = [fold.split for fold in _folds_of_first_repeat(evaluation)]
    if len(splits) < MIN_FOLDS:
        return
    n_true = np.stack([evaluation.dataset.y[it.test].sum(axis=0, dtype=int) for it in splits])
    total, most, fold = n_true.sum(axis=0), n_true.max(axis=0), n_true.argmax(axis=0)
    sizes = np.array([len(it.test) for it in splits])
    chance = n_true.size * bdtrc(most - 1, total, (sizes / sizes.sum())[fold])
    labels = np.flatnonzero((total >= MIN_ROWS) & (most > total / 2) & (chance < MAX_CHANCE))
    if len(labels):
        names = list_names(
            f"{evaluation.dataset.label_names[j]} ({most[j]} of {total[j]} rows)" for j in labels
        )
        remedies = {
            "time_series": "Read its score in that window apart from the others, in folds.json",
            "group_kfold": "Spread it over the folds: cv=stratified_group_kfold",
            "stratified_group_kfold": "Score it on more groups that have it",
        }
        kind = evaluation.config.cv.kind
        yield Finding(
            "MF020",
            f"most rows of {count_of(len(labels), len(total), 'label')} are in the test part of "
            f"one fold, on which the score hangs: {names}",
            remedies.get(kind, "Spread it over the folds: cv=multilabel_stratified"),
        )
