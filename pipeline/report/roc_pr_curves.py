"""Precision against recall, and the ROC curve, of each label over all held-out rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.report.out_of_fold import OutOfFold
from pipeline.report.style import (
    BLUE,
    EDGE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    SMALL,
    VERMILION,
    WIDTH,
    ReportFigure,
    Sheet,
    fit,
)

GRID = np.linspace(0, 1, 201)  # recalls, or false positive rates, at which curves are kept
MAX_NAMED = 6  # labels, up to which each has a colour; of more, only the best and the worst
N_BEST, N_WORST = 2, 3
MAX_LINES = 30  # labels, up to which each has a line
LEFT, SIDE = 0.55, 2.75  # inches: of the square axes
KEY, SAMPLE, NUMBER, LINE = 3.42, 0.24, 0.3, 0.17  # inches: of the list of curves beside them
LINES = (
    (BLUE, "-"),
    (SKY, (0, (5, 1))),
    (GREEN, (0, (3, 1, 1, 1))),
    (ORANGE, (0, (5, 1))),
    (PURPLE, (0, (1, 1))),
    (VERMILION, (0, (3, 1, 1, 1))),
)
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelCurves:
    """Curves of all labels on one grid, NaN for a label that has none.

    Attributes:
        precision: At each recall of `GRID` the precision of the highest threshold that reaches it,
            of shape (n_labels, n_grid).
        true_positive_rate: At each false positive rate of `GRID`, of the same shape.
        average_precision: Of shape (n_labels,).
        roc_auc: Of shape (n_labels,).
        prevalence: Share of rows with the label, of shape (n_labels,).
        decided: Precision, recall (which is the true positive rate) and false positive rate of the
            decisions, of shape (3, n_labels).
    """

    precision: Values
    true_positive_rate: Values
    average_precision: Values
    roc_auc: Values
    prevalence: Values
    decided: Values


class Axis(NamedTuple):
    """What one of the two figures shows, and how its parts are called."""

    name: str
    title: str
    score: str
    x: str
    y: str
    curves: Values
    scores: Values
    decided: Values
    chance: tuple[float, float]


def label_curves(out_of_fold: OutOfFold) -> LabelCurves:
    """Return both curves of each label; entries of equal probability are decided together."""
    columns = [
        _curves(true, score)
        for true, score in zip(out_of_fold.y_true.T, out_of_fold.y_score.T, strict=True)
    ]
    precision, rate, average_precision, roc_auc = map(np.stack, zip(*columns, strict=True))
    y_true, y_pred = out_of_fold.y_true == 1, out_of_fold.y_pred == 1
    found, alarms = (y_true & y_pred).sum(axis=0), (~y_true & y_pred).sum(axis=0)
    n_true = y_true.sum(axis=0)
    parts = ((found, found + alarms), (found, n_true), (alarms, len(y_true) - n_true))
    decided = [
        np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
        for part, whole in parts
    ]
    prevalence = n_true / len(y_true)
    return LabelCurves(precision, rate, average_precision, roc_auc, prevalence, np.stack(decided))


def _curves(y_true: NDArray[np.int8], y_score: NDArray[np.float32]) -> tuple[Values, ...]:
    order = np.argsort(-y_score)
    scores = y_score[order]
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    found = np.cumsum(y_true[order], dtype=np.int64)[last]
    alarms = last + 1 - found
    n_true, n_false = found[-1], alarms[-1]
    precision = rate = np.full(len(GRID), np.nan)
    average_precision = roc_auc = np.array(np.nan)
    if n_true:
        recall, at = found / n_true, found / (last + 1)
        precision = at[np.searchsorted(recall, GRID)]
        average_precision = np.sum(np.diff(recall, prepend=0) * at)
    if n_true and n_false:
        x, y = np.append(0, alarms) / n_false, np.append(0, found) / n_true
        rate = np.interp(GRID, x, y)
        roc_auc = np.trapezoid(y, x)
    return precision, rate, average_precision, roc_auc


def precision_recall(out_of_fold: OutOfFold, curves: LabelCurves) -> ReportFigure | None:
    """Return precision against recall of each label; None if no row has a label."""
    base = (
        float(curves.prevalence[curves.prevalence > 0].mean()) if out_of_fold.y_true.any() else 0.0
    )
    precision, recall, _ = curves.decided
    axis = Axis(
        "precision_recall",
        "Precision against recall",
        "average precision",
        "recall: share of the true that are found",
        "precision: share of the found that are true",
        curves.precision,
        curves.average_precision,
        np.stack([recall, precision]),
        (base, base),
    )
    return _picture(out_of_fold, axis)


def roc(out_of_fold: OutOfFold, curves: LabelCurves) -> ReportFigure | None:
    """Return the ROC curve of each label; None if each label is always or never present."""
    _, recall, alarms = curves.decided
    axis = Axis(
        "roc",
        "ROC curves",
        "area under the curve",
        "false alarms: share of the others that are found",
        "recall: share of the true that are found",
        curves.true_positive_rate,
        curves.roc_auc,
        np.stack([alarms, recall]),
        (0.0, 1.0),
    )
    return _picture(out_of_fold, axis)


def _picture(out_of_fold: OutOfFold, axis: Axis) -> ReportFigure | None:
    known = np.flatnonzero(np.isfinite(axis.scores))
    if not len(known):
        return None
    ranked = known[np.argsort(-axis.scores[known], kind="stable")]
    named = ranked if len(ranked) <= MAX_NAMED else np.append(ranked[:N_BEST], ranked[-N_WORST:])
    sheet = Sheet(
        f"{axis.title} of each label: {out_of_fold.name}",
        _explanation(out_of_fold, axis, len(known)),
        SIDE + 0.5,
    )
    axes = sheet.axes(LEFT, 0, SIDE, SIDE)
    _draw_others(axes, axis, ranked, set(named.tolist()))
    styles = LINES if len(ranked) <= MAX_NAMED else (*LINES[:N_BEST], *LINES[-N_WORST:])
    for label, (colour, dashes) in zip(named, styles, strict=False):
        axes.plot(GRID, axis.curves[label], linestyle=dashes, color=colour, linewidth=1.6)
        axes.plot(*axis.decided[:, label], "o", color=colour, markersize=5.5, mec="white", mew=0.7)
    axes.plot((0, 1), axis.chance, linestyle=(0, (1, 2)), color=FAINT, linewidth=1.1)
    axes.set(xlabel=axis.x, ylabel=axis.y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    _draw_key(sheet, out_of_fold, axis, named, styles, len(ranked))
    return sheet.picture(axis.name, _alt(out_of_fold, axis, ranked))


def _explanation(out_of_fold: OutOfFold, axis: Axis, n_known: int) -> str:
    n_unknown = len(axis.scores) - n_known
    missing = f" Undefined for {n_unknown} labels." if n_unknown else ""
    return f"{out_of_fold.described}, pooled. Numbers: {axis.score}. Dots: the decisions.{missing}"


def _draw_others(axes: Axes, axis: Axis, ranked: NDArray[np.int64], named: set[int]) -> None:
    """Draw the labels that have no name, as lines or as a band, and the mean of all."""
    others = axis.curves[[label for label in ranked if label not in named]]
    if len(ranked) > MAX_LINES:
        low, high = np.quantile(axis.curves[ranked], [0.1, 0.9], axis=0)
        axes.fill_between(GRID, low, high, color=PALE, alpha=0.45, linewidth=0)
    elif len(others):
        axes.plot(GRID, others.T, color=PALE, linewidth=0.8)
    if len(ranked) > 1:
        axes.plot(GRID, axis.curves[ranked].mean(axis=0), color=INK, linewidth=2.2)


def _draw_key(
    sheet: Sheet,
    out_of_fold: OutOfFold,
    axis: Axis,
    named: NDArray[np.int64],
    styles: Sequence[tuple[str, object]],
    n_known: int,
) -> None:
    """List the curves at the right of the axes, with their scores."""
    top, all_named = 0.02, n_known == len(named)
    for place, (label, (colour, dashes)) in enumerate(zip(named, styles, strict=False)):
        if not all_named and place in (0, N_BEST):
            extreme = "worst labels" if place else "best labels"
            sheet.text(KEY, top, extreme, size=SMALL, color=FAINT)
            top += LINE
        sheet.sample(KEY, top, SAMPLE, color=colour, linestyle=dashes, linewidth=1.6)
        _write(sheet, top, out_of_fold.label_names[label], axis.scores[label])
        top += LINE
    if n_known > 1:
        top += 0.08 if all_named else LINE
        sheet.sample(KEY, top, SAMPLE, color=INK, linewidth=2.2)
        _write(sheet, top, f"mean of {n_known}", float(np.nanmean(axis.scores)), "bold")
        top += LINE
    if not all_named:
        band = n_known > MAX_LINES
        sheet.sample(KEY, top, SAMPLE, color=PALE, linewidth=6 if band else 0.8)
        _write(sheet, top, "middle 80%" if band else "the others")
        top += LINE
    sheet.sample(KEY, top, SAMPLE, color=FAINT, linestyle=(0, (1, 2)), linewidth=1.1)
    _write(sheet, top, "by chance (mean)" if axis.chance[0] and n_known > 1 else "by chance")


def _write(
    sheet: Sheet, top: float, name: str, value: float | None = None, weight: str = "normal"
) -> None:
    left = KEY + SAMPLE + 0.07
    room = WIDTH - EDGE - left - (NUMBER if value is not None else 0)
    sheet.text(left, top, fit(name, room, SMALL), size=SMALL, weight=weight)
    if value is not None:
        sheet.text(WIDTH - EDGE, top, f"{value:.2f}", size=SMALL, weight=weight, ha="right")


def _alt(out_of_fold: OutOfFold, axis: Axis, ranked: NDArray[np.int64]) -> str:
    best, worst = ranked[0], ranked[-1]
    return (
        f"{axis.title}, {axis.score} of {len(ranked)} labels: mean "
        f"{np.nanmean(axis.scores):.2f}, best {out_of_fold.label_names[best]} with "
        f"{axis.scores[best]:.2f}, "
        f"worst {out_of_fold.label_names[worst]} with {axis.scores[worst]:.2f}."
    )
