"""Draw all figures of a run, or the leaderboard of a sweep."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.comparison import Configuration, Entry, ExpectedScore, Leaderboard
from pipeline.dataset import label_rates
from pipeline.errors import shorten
from pipeline.evaluation.fold_results import Evaluation
from pipeline.report.calibration import draw_calibration
from pipeline.report.fold_scores import draw_fold_scores
from pipeline.report.glyphs import describe_numbers as describe_numbers
from pipeline.report.glyphs import to_drawable
from pipeline.report.importance_figure import draw_importance
from pipeline.report.label_sets import draw_co_occurrence, draw_label_counts
from pipeline.report.loss_curves import draw_loss_curves
from pipeline.report.out_of_fold import collect_out_of_fold
from pipeline.report.per_label import draw_label_scores
from pipeline.report.per_label import label_frequencies_png as label_frequencies_png
from pipeline.report.rates_over_time import draw_label_rates
from pipeline.report.roc_pr_curves import (
    draw_precision_recall,
    draw_roc,
    label_curves,
    label_styles,
)
from pipeline.report.style import BLUE, GREY, ORANGE, ReportFigure, report_style, to_png
from pipeline.scoring import metric_title
from pipeline.scoring.feature_importance import FeatureImportance

MAX_JOBS = 30  # in the figure of a leaderboard, the best ones
MAX_NAME = 60  # characters of a job's name


def draw_figures(
    evaluation: Evaluation, labels: pd.DataFrame, importance: FeatureImportance | None = None
) -> list[ReportFigure]:
    """Draw every figure for which the evaluation has data, the most informative first.

    Numbers of labels per row are those of held-out rows in which every label is known.

    Args:
        evaluation: The evaluation.
        labels: Table of scores by label, from `labels_table`.
        importance: Importance of the features, if it was configured.
    """
    names = to_drawable(evaluation.dataset.label_names)
    labels = labels.assign(label=names)
    out_of_fold = replace(collect_out_of_fold(evaluation), label_names=tuple(names))
    with report_style():
        figures = [
            draw_fold_scores(evaluation),
            draw_loss_curves(evaluation),
            draw_label_scores(evaluation, labels),
        ]
        if importance:
            figures.append(draw_importance(importance, evaluation.dataset.name))
        colours: dict[int, str] = {}  # of labels, the same in all figures
        if len(out_of_fold.y_true):
            curves = label_curves(out_of_fold)
            colours = {label: style[0] for label, style in label_styles(curves).items()}
            figures += [
                draw_precision_recall(out_of_fold, curves),
                draw_roc(out_of_fold, curves),
                draw_calibration(out_of_fold),
                draw_label_counts(out_of_fold),
                draw_co_occurrence(out_of_fold),
            ]
        if rates := label_rates(evaluation.dataset):
            figures.append(draw_label_rates(evaluation.dataset.name, rates, names, colours))
    return [figure for figure in figures if figure]


def leaderboard_png(board: Leaderboard, expected: ExpectedScore | None) -> bytes:
    """Render the leaderboard figure as a PNG file."""
    with report_style([entry.name for entry in board.entries]):
        return to_png(draw_leaderboard(board, expected))


def draw_leaderboard(board: Leaderboard, expected: ExpectedScore | None = None) -> Figure:
    """Draw the best jobs and the score to expect of the best, or the best configurations.

    Jobs have their mean over folds and its interval, configurations of several seeds their mean and
    the standard deviations over seeds and over folds.
    """
    entries = board.configurations if board.has_seeds else board.entries[: board.n_ranked]
    n_ranked, entries = len(entries), entries[:MAX_JOBS]
    names = to_drawable([shorten(entry.name, MAX_NAME) for entry in entries])
    figure = Figure(figsize=(9, 1.6 + 0.28 * max(len(entries), 3)), dpi=110, layout="constrained")
    axes = figure.subplots()
    bars = np.array([_bar(board, entry) for entry in entries], dtype=float)
    means, low, high = bars.T
    for row, entry in enumerate(entries):
        colour = BLUE if row == 0 else GREY
        axes.plot([low[row], high[row]], [row, row], color=colour, linewidth=1.6)
        if isinstance(entry, Configuration):
            ends = means[row] + np.array([-1, 1]) * (entry.seed_std or 0.0)
            axes.plot(ends, [row, row], color=colour, linewidth=6, alpha=0.5)
        axes.plot(means[row], row, "o", color=colour, markersize=6)
    axes.axvline(means[0], color=BLUE, linewidth=0.8, linestyle=":")
    rows = list(range(len(entries)))
    if expected:
        rows, names = [-1, *rows], ["expected of the best on new rows", *names]
        axes.plot(expected.ci, [-1, -1], color=ORANGE, linewidth=1.6)
        axes.plot(expected.mean, -1, "D", color=ORANGE, markersize=6)
    axes.set_yticks(rows, names)
    axes.set_ylim(rows[-1] + 0.5, rows[0] - 0.5)
    what = "mean over folds and its 95% interval"
    if board.has_seeds:
        what = "mean, standard deviations over seeds (thick) and over folds (thin)"
    elif not np.isfinite(low).any():
        has_folds = any(board.value(it, "std") for it in entries if isinstance(it, Entry))
        what = "mean over the windows of a time series" if has_folds else "score of the only fold"
    better = "lower" if board.criterion.minimize else "higher"
    axes.set_xlabel(f"{metric_title(board.metric)}: {what} ({better} is better)")
    shown = f"The best {len(entries)} of {n_ranked}" if n_ranked > MAX_JOBS else "All"
    ranked = "configurations" if board.has_seeds else "finished jobs"
    axes.set_title(f"{shown} {ranked}, the best on top")
    axes.grid(False, axis="y")
    return figure


def _bar(board: Leaderboard, ranked: Entry | Configuration) -> tuple[float | None, ...]:
    """Return the mean of a job or configuration, and the ends of its bar."""
    if isinstance(ranked, Configuration):
        half = ranked.fold_std or 0.0
        return ranked.mean, ranked.mean - half, ranked.mean + half
    return (
        board.value(ranked, "mean"),
        board.value(ranked, "ci_low"),
        board.value(ranked, "ci_high"),
    )
