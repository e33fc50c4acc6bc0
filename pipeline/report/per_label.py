"""Figures with one line per label: its frequency in the data set, and its F1 over folds."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.dataset import DataSummary
from pipeline.errors import shorten
from pipeline.report.glyphs import replace_undrawable, to_drawable
from pipeline.report.style import (
    BLACK,
    BLUE,
    BODY,
    GREY,
    MARGIN,
    SKY,
    SMALL,
    VERMILION,
    WIDTH,
    ReportFigure,
    Sheet,
    Style,
    max_text_width,
    report_style,
    set_log_ticks,
    shorten_to_width,
    to_png,
)
from pipeline.scoring import format_number

if TYPE_CHECKING:
    from pipeline.evaluation.fold_results import Evaluation

Values = NDArray[np.float64]
Counts = NDArray[np.int64]

MAX_FREQUENCIES = 80  # labels, the most frequent ones
MAX_LABELS_WITH_NUMBERS = 12  # in the cells of the heat map
MAX_CHARACTERS = 24  # of a label's name
CO_OCCURRENCE_NORM = PowerNorm(0.5, vmin=0, vmax=1)  # most fractions are small


@lru_cache(1)  # all jobs of a sweep have the same data
def label_frequencies_png(summary: DataSummary) -> bytes:
    """Render `draw_label_frequencies` as a PNG file."""
    with report_style(summary.label_names):
        return to_png(draw_label_frequencies(summary))


def draw_label_frequencies(summary: DataSummary) -> Figure:
    """Draw the number of rows of each label and, in line with it, a heat map of co-occurrence."""
    shown = np.argsort(-summary.label_counts, kind="stable")[:MAX_FREQUENCIES]
    n = len(shown)
    side = float(np.clip(0.11 * n, 3.2, 12))  # inches
    figure = Figure(figsize=(side + 5.2, side + 2), dpi=150, layout="constrained")
    widths = [max(1.8, 0.2 * side), side]
    bars, cells = figure.subplots(1, 2, sharey=True, width_ratios=widths)
    figure.suptitle(_frequencies_title(summary), x=0.01, ha="left", fontsize=11)
    drawable = to_drawable(summary.label_names)
    names = [shorten(drawable[label], MAX_CHARACTERS) for label in shown]
    size = float(np.clip(72 * 0.8 * side / n, 4, 9))  # points: most of the height of a line
    counts = summary.label_counts[shown]
    _draw_frequencies(bars, counts, names, size)
    position = np.searchsorted(summary.paired, shown)
    fractions = summary.conditional_rates[np.ix_(position, position)]
    np.fill_diagonal(fractions, np.nan)
    image = cells.imshow(fractions, cmap="Blues", norm=CO_OCCURRENCE_NORM, aspect="auto")
    cells.set_facecolor("#BBBBBB")
    cells.grid(False)
    cells.set_xticks(range(n), names, rotation=90, fontsize=size)
    cells.tick_params(length=0, labelleft=False)
    title = "fraction of the rows with the label on the left\nthat also have the label below"
    title += ", of those in which both are known" if summary.coverage else ""
    cells.set_title(title, size=9)
    if n <= MAX_LABELS_WITH_NUMBERS:
        for (row, column), fraction in np.ndenumerate(fractions):
            if np.isfinite(fraction):
                colour = "white" if fraction > 0.35 else BLACK
                style: Style = {"ha": "center", "va": "center", "color": colour, "fontsize": 8}
                cells.text(column, row, f"{fraction:.2f}", **style)
    ticks = [0, 0.05, 0.2, 0.4, 0.6, 0.8, 1]
    colorbar: Style = {"pad": 0.02, "aspect": 40, "ticks": ticks, "format": "{x:g}"}
    figure.colorbar(image, ax=cells, label="fraction of rows", **colorbar)
    return figure


def _frequencies_title(summary: DataSummary) -> str:
    n = summary.n_labels
    shown = f", the {MAX_FREQUENCIES} most frequent shown" if n > MAX_FREQUENCIES else ""
    name, plural = replace_undrawable(summary.name), "s" if n > 1 else ""
    return (
        f"{name}: {summary.n_samples:,} rows, {n} label{plural}{shown}\n"
        f"{summary.cardinality:.3g} labels per row, {summary.describe_unlabelled()}"
        + (f"\n{summary.describe_coverage()}" if summary.coverage else "")
    )


def _draw_frequencies(axes: Axes, counts: Counts, names: list[str], size: float) -> None:
    rows = np.arange(len(counts))
    axes.barh(rows, counts, color=BLUE, height=0.8)
    for row, count in zip(rows, counts, strict=True):
        text = axes.text(float(count), float(row), f" {count:,}", va="center", fontsize=size)
        text.set_in_layout(False)  # inside the axes; the layout is slow with many texts
    axes.set_yticks(rows, names, fontsize=size)
    axes.set_title("rows with each label", fontsize=9)
    axes.set_xlim(0, max(1, counts.max()) * 1.3)  # leaves room for the numbers
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.grid(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


MAX_BARS = 30  # labels with a bar each; of more labels, only the two groups below
N_PER_GROUP = 12  # most frequent labels, and rarest labels
MAX_NAME = 1.75  # inches of a label's name
BAR_HEIGHT = 0.19  # inches
SCATTER_HEIGHT = 1.6  # inches: of the axes with all labels
NUMBER_COLUMN = 0.52  # inches
GROUP_TITLE = 1.6  # height, in bars
LabelGroups = dict[str, NDArray[np.int64]]


def draw_label_scores(evaluation: "Evaluation", table: pd.DataFrame) -> ReportFigure:
    """Draw a bar of F1 for each label, best first, with its deviation and that of always yes.

    Args:
        evaluation: The evaluation.
        table: Table of scores by label, from `labels_table`.
    """
    f1 = table["f1_mean"].to_numpy(float)
    std = table["f1_std"].to_numpy(float) if len(evaluation.folds) > 1 else None
    dataset = evaluation.dataset
    counts = dataset.y.sum(axis=0, dtype=np.int64)
    groups = group_labels(f1, counts)
    has_scatter = len(groups) > 1
    n_lines = sum(map(len, groups.values())) + (GROUP_TITLE * len(groups) if has_scatter else 0)
    top = SCATTER_HEIGHT + 0.62 if has_scatter else 0.15
    sheet = Sheet(
        f"F1 of each label: {dataset.name}",
        _explanation(len(f1), len(evaluation.folds), has_scatter),
        top + n_lines * BAR_HEIGHT + 0.48,
    )
    if has_scatter:
        axes = sheet.axes(0.55, 0.2, WIDTH - 0.75, SCATTER_HEIGHT - 0.2)
        n_rows = dataset.n_samples if dataset.label_mask is None else None
        _draw_scatter(axes, f1, counts, table["f1_base"].to_numpy(float), n_rows)
    shown = np.concatenate([*groups.values()])
    names = {i: shorten_to_width(table["label"][i], MAX_NAME, SMALL) for i in shown}
    left = MARGIN + max(max_text_width([*names.values()], SMALL), 0.4) + 0.07
    width = WIDTH - left - 2 * NUMBER_COLUMN - MARGIN
    axes = sheet.axes(left, top, width, n_lines * BAR_HEIGHT)
    lines = _draw_bars(axes, groups, f1, std, n_lines)
    y, base = np.array([*lines.values()]), table["f1_base"].to_numpy(float)[[*lines]]
    axes.vlines(base, y - 0.36, y + 0.36, color=VERMILION, linewidth=1.4)
    axes.set_yticks([])  # sheet.text takes half the time of tick labels
    for right, title, texts in (
        (left - 0.07, "", [names[i] for i in lines]),
        (WIDTH - NUMBER_COLUMN - MARGIN, "F1", [format_number(f1[i]) for i in lines]),
        (WIDTH - MARGIN, "rows", [f"{counts[i]:,}" for i in lines]),
    ):
        style = {"ha": "right", "size": SMALL}
        sheet.text(right, top - 0.15, title, color=GREY, **style)
        for line, text in zip(lines.values(), texts, strict=True):
            middle = top + (line + 0.5) * BAR_HEIGHT
            sheet.text(right, middle, text, va="center_baseline", **style)
    return sheet.to_figure("label_scores", _alt_text(table["label"].tolist(), f1))


def group_labels(f1: Values, counts: Counts) -> LabelGroups:
    """Return the labels with a bar by the title of their group, in each group the best first."""
    if len(f1) <= MAX_BARS:
        return {"": np.argsort(-f1, kind="stable")}
    by_count = np.argsort(-counts, kind="stable")
    groups = {
        f"the {N_PER_GROUP} most frequent labels": by_count[:N_PER_GROUP],
        f"the {N_PER_GROUP} rarest labels": by_count[-N_PER_GROUP:],
    }
    return {
        title: labels[np.argsort(-f1[labels], kind="stable")] for title, labels in groups.items()
    }


def _explanation(n_labels: int, n_folds: int, has_scatter: bool) -> str:
    bars = "Bars: mean over folds. Lines: standard deviation." if n_folds > 1 else "One fold."
    bars += " Red: always saying yes."
    if not has_scatter:
        return bars
    return f"Points: all {n_labels} labels. {bars}"


def _draw_scatter(axes: Axes, f1: Values, counts: Counts, base: Values, n_rows: int | None) -> None:
    """Draw all labels, and always saying yes as a line or, if labels differ in rows, as points."""
    has_rows = counts > 0
    if n_rows is None:
        axes.plot(counts[has_rows], base[has_rows], "_", color=VERMILION, markersize=4)
    else:
        x = np.geomspace(max(1, counts[has_rows].min(initial=n_rows)), max(2, counts.max()), 100)
        axes.plot(x, 2 * x / (x + n_rows), color=VERMILION, linewidth=1.2)
    axes.plot(counts[has_rows], f1[has_rows], "o", color=BLUE, alpha=0.45, markersize=4, mew=0)
    axes.set_xscale("log")
    set_log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set(xlabel="rows with the label", ylabel="F1", ylim=(-0.03, 1.03))


def _draw_bars(
    axes: Axes, groups: LabelGroups, f1: Values, std: Values | None, n_lines: float
) -> dict[int, float]:
    """Draw the groups one below the other and return the line of each label, from the top."""
    lines: dict[int, float] = {}
    line = 0.0
    for title, labels in groups.items():
        if title:
            axes.text(0, line + 0.75, title, size=BODY, weight="bold", va="center")
            line += GROUP_TITLE
        for label in labels:
            lines[int(label)] = line
            line += 1
    y, labels = np.array([*lines.values()]), np.array([*lines])
    axes.barh(y, f1[labels], height=0.72, color=SKY, linewidth=0)
    if std is not None:
        low, high = np.clip([f1[labels] - std[labels], f1[labels] + std[labels]], 0, 1)
        axes.hlines(y, low, high, color=BLACK, linewidth=1.1)
    axes.set(xlim=(0, 1), ylim=(n_lines - 0.5, -0.5), xlabel="F1")
    return lines


def _alt_text(names: list[str], f1: Values) -> str:
    best, worst = int(np.argmax(f1)), int(np.argmin(f1))
    return (
        f"F1 of {len(names)} labels: best {names[best]} with {format_number(f1[best])}, "
        f"worst {names[worst]} with {format_number(f1[worst])}, "
        f"median {format_number(float(np.median(f1)))}."
    )
