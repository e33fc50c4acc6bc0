"""Tables of a result: scores of each fold and label, and out-of-fold predictions."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluation.evaluator import Evaluation
from pipeline.scoring import label_scores

MAY_BE_UNDEFINED = ("roc_auc", "average_precision")  # of a label, in a fold


def folds_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per fold: repeat, fold, sizes, scores, undefined labels and seconds."""
    incomplete = [
        name for name, summary in evaluation.summary.items() if summary.n_undefined_labels
    ]
    return pd.DataFrame(
        [
            {
                "repeat": fold.split.repeat,
                "fold": fold.split.fold,
                "n_train": len(fold.split.train),
                "n_test": len(fold.split.test),
                **fold.scores,
                **{f"{name}_left_out": fold.n_undefined_labels.get(name, 0) for name in incomplete},
                "seconds": round(fold.seconds, 4),
            }
            for fold in evaluation.folds
        ]
    )


def labels_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per label: mean and population standard deviation of its scores over folds.

    A fold in which a score is undefined is skipped. For scores that can be undefined, the column
    `*_folds` has the number of remaining folds.
    """
    y, zero_division = evaluation.dataset.y, evaluation.config.scoring.zero_division
    folds = [
        label_scores(zero_division, y[fold.split.test], fold.y_score, fold.y_pred)
        for fold in evaluation.folds
    ]
    columns: dict[str, object] = {"label": evaluation.dataset.label_names}
    for name in folds[0]:
        values = np.ma.masked_invalid([fold[name] for fold in folds])
        columns[f"{name}_mean"] = values.mean(axis=0).filled(np.nan)
        columns[f"{name}_std"] = values.std(axis=0).filled(np.nan)
        if name in MAY_BE_UNDEFINED:
            columns[f"{name}_folds"] = values.count(axis=0)
    return pd.DataFrame({**columns, **_tuned_rules(evaluation)})


def _tuned_rules(evaluation: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Return tuned thresholds and temperatures: over folds, and those of the final model."""
    config, columns = evaluation.config.decision, {}
    is_tuned = {
        "threshold": isinstance(config.threshold, str),
        "temperature": config.calibration is not None,
    }
    for name in filter(is_tuned.get, is_tuned):
        values = np.stack([getattr(fold.rule, name) for fold in evaluation.folds])
        columns[f"{name}_mean"], columns[f"{name}_std"] = values.mean(axis=0), values.std(axis=0)
        if evaluation.final:
            columns[f"{name}_final"] = getattr(evaluation.final.rule, name)
    return columns


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per test row of each fold: repeat, fold, row, id, group, and label values.

    The values are `true_*`, the probabilities `score_*` and the predicted labels `pred_*`.
    """
    splits = [fold.split for fold in evaluation.folds]
    sizes = [len(split.test) for split in splits]
    rows = np.concatenate([split.test for split in splits])
    scores = np.concatenate([fold.y_score for fold in evaluation.folds])
    predicted = np.concatenate([fold.y_pred for fold in evaluation.folds])
    labels, dataset = evaluation.dataset.label_names, evaluation.dataset
    y_true = dataset.y[rows]
    return pd.DataFrame(
        {
            "repeat": np.repeat([split.repeat for split in splits], sizes),
            "fold": np.repeat([split.fold for split in splits], sizes),
            "row": rows,
            **({} if dataset.ids is None else {"id": dataset.ids[rows]}),
            **({} if dataset.groups is None else {"group": dataset.groups[rows]}),
            **{f"true_{label}": y_true[:, i] for i, label in enumerate(labels)},
            **{f"score_{label}": scores[:, i] for i, label in enumerate(labels)},
            **{f"pred_{label}": predicted[:, i] for i, label in enumerate(labels)},
        }
    )
