"""Figure of the scores of each fold: the headline metric by repeat, more metrics below it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.fold_results import Evaluation
from pipeline.report.style import (
    BLACK,
    BODY,
    COLOURS,
    GREY,
    GRID_GREY,
    MARGIN,
    MARKERS,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    Style,
    wrap_text,
)
from pipeline.scoring import MetricSummary, format_summary, metric_title

N_SMALL_PANELS = 4  # of further metrics, below the headline metric
MIN_FOLDS_OF_BOX = 5
MAX_TICKS = 12  # of repeats that are numbered
LEFT, RIGHT, HEIGHT = 0.62, 1.28, 2.1  # inches beside the main axes, and their height
PANEL_TITLE, PANEL_HEIGHT = 0.34, 0.95  # inches, of the small panels
TICK_LABELS = 0.36  # fraction of a small panel's width for its tick labels
INTERVAL_GREY = "#DDDDDD"
TICK_STYLE: Style = {"size": SMALL - 0.5, "ha": "right", "va": "center_baseline"}
Values = NDArray[np.float64]


def draw_fold_scores(evaluation: Evaluation) -> ReportFigure:
    """Draw the scores of each fold as points by repeat, with boxes, mean and interval."""
    metric, summary = next(iter(evaluation.summary.items()))
    others = list(evaluation.summary)[1 : 1 + N_SMALL_PANELS]
    sheet = Sheet(
        f"{metric_title(metric)} of each fold: {evaluation.dataset.name}",
        _explanation(evaluation),
        HEIGHT + 0.45 + (PANEL_TITLE + PANEL_HEIGHT + 0.15 if others else 0),
    )
    axes = sheet.axes(LEFT, 0, WIDTH - LEFT - RIGHT, HEIGHT)
    _draw_headline(axes, evaluation, metric)
    _write_statistics(sheet, summary)
    if others:
        top = HEIGHT + 0.45 + PANEL_TITLE
        panels = sheet.axes(MARGIN, top, WIDTH - 2 * MARGIN, PANEL_HEIGHT)
        panels.axis("off")
        panels.set(xlim=(0, N_SMALL_PANELS), ylim=(0, 1))
        width = (WIDTH - 2 * MARGIN) / N_SMALL_PANELS
        for panel, name in enumerate(others):
            title = "\n".join(wrap_text(metric_title(name), SMALL, width=width - 0.08)[:2])
            style: Style = {"size": SMALL, "va": "bottom", "linespacing": 1.15}
            sheet.text(MARGIN + panel * width, top - 0.07, title, **style)
            _draw_panel(panels, panel, evaluation, name)
    return sheet.to_figure("fold_scores", _alt_text(evaluation, metric, summary))


def _explanation(evaluation: Evaluation) -> str:
    n_folds, n_repeats = len(evaluation.folds), len(_repeats(evaluation))
    folds = f"{n_folds} fold{'s' if n_folds > 1 else ''}"
    repeats = f", {n_repeats} repeats" if n_repeats > 1 else ""
    boxes = " Boxes: quartiles and extremes." if n_folds >= MIN_FOLDS_OF_BOX else ""
    if next(iter(evaluation.summary.values())).windows:
        return (
            f"One point per window in order of time ({n_folds} windows), scored on its rows by a "
            "model of earlier rows."
        )
    return f"One point per fold ({folds}{repeats}), scored on its held-out rows.{boxes}"


def _draw_headline(axes: Axes, evaluation: Evaluation, metric: str) -> None:
    repeats, summary = _repeats(evaluation), evaluation.summary[metric]
    n, all_scores = len(repeats), _finite(_scores(evaluation, metric))
    size = 5 if n <= MAX_TICKS else 3.5
    if summary.n_folds:
        axes.axhline(summary.mean, color=BLACK, linewidth=1.1, zorder=1.5)
    if summary.ci:
        axes.axhspan(*summary.ci, color=INTERVAL_GREY, linewidth=0, zorder=0.5)
    for repeat in repeats:
        values = _scores(evaluation, metric, repeat)
        if summary.windows:
            axes.plot(repeat + _spread(len(values)), values, color=GREY, linewidth=0.9, zorder=2)
        else:
            _draw_box(axes, repeat, _finite(values))
        axes.plot(
            repeat + _spread(len(values)),
            values,
            **_point_style(repeat, size),
        )
    labels, positions = [str(repeat + 1) for repeat in repeats], repeats
    if n == 1:
        labels = [f"{len(evaluation.folds)} fold{'s' if len(evaluation.folds) > 1 else ''}"]
        if summary.windows:
            labels = [f"{len(summary.windows)} windows, the earliest at the left"]
    else:
        labels, positions = ["all", *labels], [-1, *repeats]
        _draw_box(axes, -1, all_scores)
    step = 1 if n <= MAX_TICKS else -(-n // MAX_TICKS)
    axes.set_xticks(positions[::step], labels[::step])
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    padding = 0.6 if n > 1 else 1.0
    axes.set(xlabel="repeat" if n > 1 else "")
    axes.set(xlim=(positions[0] - padding, positions[-1] + padding))
    axes.set(ylim=_limits(all_scores, summary))


def _draw_box(axes: Axes, position: float, values: Values) -> None:
    if len(values) < MIN_FOLDS_OF_BOX:
        return
    line = {"color": GREY, "linewidth": 0.9}
    axes.boxplot(
        values,
        positions=[position],
        widths=0.7,
        whis=(0, 100),
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": (1, 1, 1, 0.75), "edgecolor": GREY, "linewidth": 0.9},
        medianprops={"color": BLACK, "linewidth": 1.6},
        whiskerprops=line,
        capprops=line,
    )


def _draw_panel(axes: Axes, panel: int, evaluation: Evaluation, metric: str) -> None:
    """Draw one metric on its own scale, between x = panel and x = panel + 1.

    All panels share one pair of axes, which takes a third of the time of separate ones.
    """
    summary, repeats = evaluation.summary[metric], _repeats(evaluation)
    low, high = _limits(_finite(_scores(evaluation, metric)), summary)
    left, right = panel + TICK_LABELS, panel + 0.95

    def scaled(values: Any) -> Values:
        return (np.asarray(values) - low) / (high - low)

    ticks = np.array(MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high))
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    decimals = max(0, -int(np.floor(np.log10(np.diff(ticks).min())))) if len(ticks) > 1 else 3
    for tick in ticks:
        axes.text(left - 0.03, float(scaled(tick)), f"{tick:.{decimals}f}", **TICK_STYLE)
    axes.hlines(scaled(ticks), left, right, color=GRID_GREY, linewidth=0.7, zorder=0.4)
    if summary.ci:
        bottom, top = np.clip(scaled(summary.ci), 0, 1)
        axes.fill_between((left, right), bottom, top, color=INTERVAL_GREY, linewidth=0, zorder=0.3)
    if summary.n_folds:
        axes.hlines(scaled(summary.mean), left, right, color=BLACK, linewidth=1.1)
    axes.vlines(left, 0, 1, color="#8A8A8A", linewidth=0.8)
    middle, width = (left + right) / 2, (right - left) / len(repeats)
    for repeat in repeats:
        values = _scores(evaluation, metric, repeat)
        offset = (repeat - (len(repeats) - 1) / 2) * width
        jitter = width * _spread(len(values))
        axes.plot(middle + offset + jitter, scaled(values), **_point_style(repeat, 2.8))


def _write_statistics(sheet: Sheet, summary: MetricSummary) -> None:
    """Write mean, deviation and interval at the right of the main axes."""
    left, top = WIDTH - RIGHT + 0.1, 0.05
    if not summary.n_folds:
        sheet.text(left, top, "undefined\nin every fold", size=BODY)
        return
    mean, std, interval = format_summary(summary)
    title = "95% interval of\nthe mean (grey)"
    if summary.windows:  # the points are their scores
        title, interval = "", ""
    statistics = {
        "mean" if std else "score": mean,
        "standard deviation\nover folds": std,
        title: interval,
        "undefined in": f"{summary.n_undefined} folds" if summary.n_undefined else "",
    }
    for name, value in statistics.items():
        if value:
            top = sheet.statistic(left, top, name, value)


def _limits(values: Values, summary: MetricSummary) -> tuple[float, float]:
    """Return limits around all scores and the interval, close to 0 and 1 for scores in [0, 1]."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    in_unit_range = low >= 0 and high <= 1
    low, high = min(low, *(summary.ci or (low,))), max(high, *(summary.ci or (high,)))
    largest = max(abs(low), abs(high))
    pad = max(0.06 * (high - low), 0.005 * largest) if high > low else 0.1 * (largest or 1)
    low, high = low - pad, high + pad
    if in_unit_range:
        low, high = max(low, -0.03 * (high - low)), min(high, 1 + 0.03 * (high - low))
    return low, high


def _point_style(repeat: int, size: float) -> Style:
    return {
        "linestyle": "none",
        "marker": MARKERS[repeat % len(MARKERS)],
        "color": COLOURS[repeat % len(COLOURS)],
        "markersize": size,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
        "zorder": 3,
    }


def _spread(n: int) -> Values:
    """Return horizontal offsets, so that points of one repeat do not overlap."""
    return np.linspace(-0.3, 0.3, n) if n > 1 else np.zeros(n)


def _repeats(evaluation: Evaluation) -> list[int]:
    return sorted({fold.split.repeat for fold in evaluation.folds})


def _scores(evaluation: Evaluation, metric: str, repeat: int | None = None) -> Values:
    folds = [f for f in evaluation.folds if repeat is None or f.split.repeat == repeat]
    return np.array([fold.scores[metric] for fold in folds], dtype=np.float64)


def _finite(values: Values) -> Values:
    return values[np.isfinite(values)]


def _alt_text(evaluation: Evaluation, metric: str, summary: MetricSummary) -> str:
    values, name = _finite(_scores(evaluation, metric)), metric_title(metric)
    if not len(values):
        return f"{name} is undefined in every fold."
    mean, std, interval = format_summary(summary)
    if not std:
        return f"{name} of 1 fold: {mean}."
    decimals = len(mean.partition(".")[2])
    extremes = f"{values.min():.{decimals}f} to {values.max():.{decimals}f}"
    spread = f", 95% interval {interval}" if summary.ci else ""
    return f"{name} of {len(values)} folds, from {extremes}; mean {mean}{spread}."
