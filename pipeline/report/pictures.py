"""Every figure of a run, drawn."""

import pandas as pd

from pipeline.report.calibration import calibration
from pipeline.report.counts import label_counts
from pipeline.report.curves import training_curves
from pipeline.report.folds import fold_scores
from pipeline.report.labels import label_scores
from pipeline.report.picture import Picture
from pipeline.report.pooled import pool
from pipeline.report.ranking import label_curves, precision_recall, roc
from pipeline.report.style import styled
from pipeline.report.together import co_occurrence
from pipeline.runner import Evaluation


def draw_pictures(evaluation: Evaluation, labels: pd.DataFrame) -> list[Picture]:
    """Return the figures that the evaluation has something for, in the order to look at them.

    Args:
        evaluation: All folds.
        labels: What `labels_table` makes of it.
    """
    pooled = pool(evaluation)
    with styled():
        pictures = [
            fold_scores(evaluation),
            training_curves(evaluation),
            label_scores(evaluation, labels),
        ]
        if len(pooled.y_true):
            curves = label_curves(pooled)
            pictures += [
                precision_recall(pooled, curves),
                roc(pooled, curves),
                calibration(pooled),
                label_counts(pooled),
                co_occurrence(pooled),
            ]
    return [picture for picture in pictures if picture]
