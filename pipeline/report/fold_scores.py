"""The scores of the folds: the headline metric by repeat, the next metrics below it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.evaluator import Evaluation
from pipeline.report.style import (
    BODY,
    COLOURS,
    EDGE,
    FAINT,
    GRID,
    INK,
    MARKERS,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    wrap,
)
from pipeline.scoring import MetricSummary, metric_title

N_OTHERS = 4  # metrics below the headline
MIN_BOX = 5  # folds, of which a box can be drawn
MANY = 12  # repeats, above which only every few are numbered
LEFT, RIGHT, HEIGHT = 0.62, 1.28, 2.1  # inches beside the headline's axes, and their height
NAMES, STRIP = 0.34, 0.95  # inches: names of the other metrics, and their points below
NUMBERS = 0.36  # share of a strip's width that its numbers take
BAND = "#DDDDDD"
NUMBER: dict[str, Any] = {"size": SMALL - 0.5, "ha": "right", "va": "center_baseline"}
Values = NDArray[np.float64]


def fold_scores(evaluation: Evaluation) -> ReportFigure:
    """Return each fold's scores as points, repeats told apart, with boxes, mean and interval."""
    metric, summary = next(iter(evaluation.summary.items()))
    others = list(evaluation.summary)[1 : 1 + N_OTHERS]
    sheet = Sheet(
        f"{metric_title(metric)} of each fold: {evaluation.dataset.name}",
        _explanation(evaluation),
        HEIGHT + 0.45 + (NAMES + STRIP + 0.15 if others else 0),
    )
    axes = sheet.axes(LEFT, 0, WIDTH - LEFT - RIGHT, HEIGHT)
    _draw_headline(axes, evaluation, metric)
    _write_numbers(sheet, summary)
    if others:
        top = HEIGHT + 0.45 + NAMES
        strips = sheet.axes(EDGE, top, WIDTH - 2 * EDGE, STRIP)
        strips.axis("off")
        strips.set(xlim=(0, N_OTHERS), ylim=(0, 1))
        for place, name in enumerate(others):
            room = (WIDTH - 2 * EDGE) / N_OTHERS
            words = "\n".join(wrap(metric_title(name), SMALL, width=room - 0.08)[:2])
            left = EDGE + place * room
            sheet.text(left, top - 0.07, words, size=SMALL, va="bottom", linespacing=1.15)
            _draw_strip(strips, place, evaluation, name)
    return sheet.picture("fold_scores", _alt(evaluation, metric, summary))


def _explanation(evaluation: Evaluation) -> str:
    n_folds, n_repeats = len(evaluation.folds), len(_repeats(evaluation))
    folds = f"{n_folds} fold{'s' if n_folds > 1 else ''}"
    of_repeats = f", {n_repeats} repeats" if n_repeats > 1 else ""
    boxes = " Boxes: quartiles and extremes." if n_folds >= MIN_BOX else ""
    return f"One point per fold ({folds}{of_repeats}), scored on its held-out rows.{boxes}"


def _draw_headline(axes: Axes, evaluation: Evaluation, metric: str) -> None:
    repeats, summary = _repeats(evaluation), evaluation.summary[metric]
    n, everything = len(repeats), _finite(_scores(evaluation, metric))
    if summary.n_folds:
        axes.axhline(summary.mean, color=INK, linewidth=1.1, zorder=1.5)
    if summary.ci:
        axes.axhspan(*summary.ci, color=BAND, linewidth=0, zorder=0.5)
    for repeat in repeats:
        values = _scores(evaluation, metric, repeat)
        _draw_box(axes, repeat, _finite(values))
        axes.plot(repeat + _spread(len(values)), values, **_points(repeat, 5 if n <= MANY else 3.5))
    names, places = [str(repeat + 1) for repeat in repeats], repeats
    if n == 1:
        names = [f"{len(evaluation.folds)} fold{'s' if len(evaluation.folds) > 1 else ''}"]
    else:
        names, places = ["all", *names], [-1, *repeats]
        _draw_box(axes, -1, everything)
    step = 1 if n <= MANY else -(-n // MANY)
    axes.set_xticks(places[::step], names[::step])
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    edge = 0.6 if n > 1 else 1.0
    axes.set(ylabel=metric_title(metric), xlabel="repeat" if n > 1 else "")
    axes.set(xlim=(places[0] - edge, places[-1] + edge), ylim=_limits(everything, summary))


def _draw_box(axes: Axes, place: float, values: Values) -> None:
    if len(values) < MIN_BOX:
        return
    line = {"color": FAINT, "linewidth": 0.9}
    axes.boxplot(
        values,
        positions=[place],
        widths=0.7,
        whis=(0, 100),
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": (1, 1, 1, 0.75), "edgecolor": FAINT, "linewidth": 0.9},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops=line,
        capprops=line,
    )


def _draw_strip(axes: Axes, place: int, evaluation: Evaluation, metric: str) -> None:
    """Draw one metric, on its own scale, into its share of axes that go from 0 to 1.

    One pair of axes for all of them takes a third of the time of a pair for each.
    """
    summary, repeats = evaluation.summary[metric], _repeats(evaluation)
    low, high = _limits(_finite(_scores(evaluation, metric)), summary)
    left, right = place + NUMBERS, place + 0.95

    def scaled(values: Any) -> Values:
        return (np.asarray(values) - low) / (high - low)

    ticks = np.array(MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high))
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    digits = max(0, -int(np.floor(np.log10(np.diff(ticks).min())))) if len(ticks) > 1 else 3
    for tick in ticks:
        axes.text(left - 0.03, float(scaled(tick)), f"{tick:.{digits}f}", **NUMBER)
    axes.hlines(scaled(ticks), left, right, color=GRID, linewidth=0.7, zorder=0.4)
    if summary.ci:
        bottom, top = np.clip(scaled(summary.ci), 0, 1)
        axes.fill_between((left, right), bottom, top, color=BAND, linewidth=0, zorder=0.3)
    if summary.n_folds:
        axes.hlines(scaled(summary.mean), left, right, color=INK, linewidth=1.1)
    axes.vlines(left, 0, 1, color="#8A8A8A", linewidth=0.8)
    middle, width = (left + right) / 2, (right - left) / len(repeats)
    for repeat in repeats:
        values = _scores(evaluation, metric, repeat)
        shift = (repeat - (len(repeats) - 1) / 2) * width
        spread = width * _spread(len(values))
        axes.plot(middle + shift + spread, scaled(values), **_points(repeat, 2.8))


def _write_numbers(sheet: Sheet, summary: MetricSummary) -> None:
    """Write mean, deviation and interval at the right of the headline's axes."""
    left, top = WIDTH - RIGHT + 0.1, 0.05
    if not summary.n_folds:
        sheet.text(left, top, "undefined\nin every fold", size=BODY)
        return
    facts = {"mean": f"{summary.mean:.3f}", "deviation over folds": f"{summary.std:.3f}"}
    if summary.ci:
        low, high = summary.ci
        facts["95% interval of\nthe mean (grey)"] = f"{low:.3f} to {high:.3f}"
    if summary.n_undefined:
        facts["undefined in"] = f"{summary.n_undefined} folds"
    for name, value in facts.items():
        top = sheet.fact(left, top, name, value)


def _limits(values: Values, summary: MetricSummary) -> tuple[float, float]:
    """Return limits around all points and the interval; hardly beyond 0 and 1 where all are."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    within = low >= 0 and high <= 1
    low, high = min(low, *(summary.ci or (low,))), max(high, *(summary.ci or (high,)))
    pad = max(0.06 * (high - low), 0.005 * max(abs(low), abs(high)), 1e-6)
    low, high = low - pad, high + pad
    if within:
        low, high = max(low, -0.03 * (high - low)), min(high, 1 + 0.03 * (high - low))
    return low, high


def _points(repeat: int, size: float) -> dict[str, Any]:
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
    """Return shifts that keep points of one repeat apart."""
    return np.linspace(-0.3, 0.3, n) if n > 1 else np.zeros(n)


def _repeats(evaluation: Evaluation) -> list[int]:
    return sorted({fold.split.repeat for fold in evaluation.folds})


def _scores(evaluation: Evaluation, metric: str, repeat: int | None = None) -> Values:
    folds = [f for f in evaluation.folds if repeat is None or f.split.repeat == repeat]
    return np.array([fold.scores[metric] for fold in folds], dtype=np.float64)


def _finite(values: Values) -> Values:
    return values[np.isfinite(values)]


def _alt(evaluation: Evaluation, metric: str, summary: MetricSummary) -> str:
    values, name = _finite(_scores(evaluation, metric)), metric_title(metric)
    if not len(values):
        return f"{name} is undefined in every fold."
    spread = f"from {values.min():.3f} to {values.max():.3f}"
    interval = f", 95% interval {summary.ci[0]:.3f} to {summary.ci[1]:.3f}" if summary.ci else ""
    return f"{name} of {len(values)} folds, {spread}; mean {summary.mean:.3f}{interval}."
