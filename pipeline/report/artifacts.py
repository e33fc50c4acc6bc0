"""Write a run's files into a folder: tables, figures and page."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.dataset import DataSummary
from pipeline.evaluation.evaluator import Evaluation
from pipeline.report.calibration import calibration
from pipeline.report.fold_scores import fold_scores
from pipeline.report.label_sets import co_occurrence, label_counts
from pipeline.report.loss_curves import training_curves
from pipeline.report.out_of_fold import collect_out_of_fold
from pipeline.report.page import RunInfo, write_page
from pipeline.report.per_label import label_scores_figure
from pipeline.report.roc_pr_curves import label_curves, precision_recall, roc
from pipeline.report.style import ReportFigure, styled
from pipeline.scoring import label_scores

MAY_BE_UNDEFINED = ("roc_auc", "average_precision")  # of a label, in a fold


def folds_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per fold: repeat, fold, sizes, every score, labels left out, seconds."""
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
    """Return one row per label: its scores alone, mean and deviation over folds, as in summaries.

    A fold in which a score is undefined is left out; where that can happen, the column `*_folds`
    says how many remain.
    """
    y, config = evaluation.dataset.y, evaluation.config.scoring
    folds = [
        label_scores(config, y[fold.split.test], fold.y_score, fold.y_pred)
        for fold in evaluation.folds
    ]
    columns: dict[str, object] = {"label": evaluation.dataset.label_names}
    for name in folds[0]:
        values = np.ma.masked_invalid([fold[name] for fold in folds])
        columns[f"{name}_mean"] = values.mean(axis=0).filled(np.nan)
        columns[f"{name}_std"] = values.std(axis=0).filled(np.nan)
        if name in MAY_BE_UNDEFINED:
            columns[f"{name}_folds"] = values.count(axis=0)
    return pd.DataFrame({**columns, **_learnt(evaluation)})


def _learnt(evaluation: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Return thresholds and temperatures, if learnt: over folds, and the final model's."""
    config, columns = evaluation.config.scoring, {}
    learnt = {
        "threshold": isinstance(config.threshold, str),
        "temperature": config.calibration is not None,
    }
    for name in (name for name, is_learnt in learnt.items() if is_learnt):
        values = np.stack([getattr(fold.rule, name) for fold in evaluation.folds])
        columns[f"{name}_mean"], columns[f"{name}_std"] = values.mean(axis=0), values.std(axis=0)
        if evaluation.final:
            columns[f"{name}_final"] = getattr(evaluation.final.rule, name)
    return columns


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row per test row of each fold: repeat, fold, row, id, and values by label.

    Those are `true_*`, the probabilities `score_*` and the decisions `pred_*`.
    """
    splits = [fold.split for fold in evaluation.folds]
    sizes = [len(split.test) for split in splits]
    rows = np.concatenate([split.test for split in splits])
    scores = np.concatenate([fold.y_score for fold in evaluation.folds])
    decided = np.concatenate([fold.y_pred for fold in evaluation.folds])
    labels, ids = evaluation.dataset.label_names, evaluation.dataset.ids
    y_true = evaluation.dataset.y[rows]
    return pd.DataFrame(
        {
            "repeat": np.repeat([split.repeat for split in splits], sizes),
            "fold": np.repeat([split.fold for split in splits], sizes),
            "row": rows,
            **({} if ids is None else {"id": ids[rows]}),
            **{f"true_{label}": y_true[:, i] for i, label in enumerate(labels)},
            **{f"score_{label}": scores[:, i] for i, label in enumerate(labels)},
            **{f"pred_{label}": decided[:, i] for i, label in enumerate(labels)},
        }
    )


def draw_figures(evaluation: Evaluation, labels: pd.DataFrame) -> list[ReportFigure]:
    """Return the figures that the evaluation has something for, in the order to look at them.

    Args:
        evaluation: All folds.
        labels: What `labels_table` makes of it.
    """
    out_of_fold = collect_out_of_fold(evaluation)
    with styled():
        figures = [
            fold_scores(evaluation),
            training_curves(evaluation),
            label_scores_figure(evaluation, labels),
        ]
        if len(out_of_fold.y_true):
            curves = label_curves(out_of_fold)
            figures += [
                precision_recall(out_of_fold, curves),
                roc(out_of_fold, curves),
                calibration(out_of_fold),
                label_counts(out_of_fold),
                co_occurrence(out_of_fold),
            ]
    return [picture for picture in figures if picture]


def write_report(
    folder: Path,
    evaluation: Evaluation,
    summary: DataSummary,
    run_info: RunInfo,
    labels: pd.DataFrame,
) -> None:
    """Write `figures/*.png` and `report.html`, as far as the configuration asks for them.

    Args:
        folder: Where to.
        evaluation: All folds.
        summary: The data in numbers.
        run_info: The run.
        labels: What `labels_table` makes of the evaluation.
    """
    config = evaluation.config.report
    figures = []
    if config.figures:
        pass  # MOVED

        figures = draw_figures(evaluation, labels)
        (folder / "figures").mkdir()
        for picture in figures:
            (folder / "figures" / f"{picture.name}.png").write_bytes(picture.png)
    if config.html:
        page = write_page(evaluation, summary, run_info, labels, figures)
        (folder / "report.html").write_text(page, encoding="utf-8")
