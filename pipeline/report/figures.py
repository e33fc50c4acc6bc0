"""Draw all figures of a run or of a sweep."""

from io import BytesIO

import pandas as pd

from pipeline.comparison import Leaderboard
from pipeline.evaluation.evaluator import Evaluation
from pipeline.report.calibration import calibration
from pipeline.report.fold_scores import fold_scores
from pipeline.report.label_sets import co_occurrence, label_counts
from pipeline.report.leaderboard_figure import leaderboard_figure
from pipeline.report.loss_curves import training_curves
from pipeline.report.out_of_fold import collect_out_of_fold
from pipeline.report.per_label import label_scores_figure
from pipeline.report.roc_pr_curves import label_curves, precision_recall, roc
from pipeline.report.style import ReportFigure, styled


def draw_figures(evaluation: Evaluation, labels: pd.DataFrame) -> list[ReportFigure]:
    """Draw every figure for which the evaluation has data, the most informative first.

    Args:
        evaluation: The evaluation.
        labels: Table of scores by label, from `labels_table`.
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
    return [figure for figure in figures if figure]


def leaderboard_png(board: Leaderboard) -> bytes:
    """Draw a leaderboard as a PNG file."""
    file = BytesIO()
    leaderboard_figure(board).savefig(file, format="png")
    return file.getvalue()
