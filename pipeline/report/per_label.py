"""How well each label is found: bars of F1 with deviations; of many labels the two ends."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pipeline.evaluation.evaluator import Evaluation
from pipeline.report.style import (
    BLUE,
    BODY,
    EDGE,
    FAINT,
    INK,
    SKY,
    SMALL,
    WIDTH,
    ReportFigure,
    Sheet,
    fit,
    round_ticks,
    widest,
)

MAX_LABELS = 30  # that have a bar each; of more, only those at both ends
N_ENDS = 12  # most frequent labels, and rarest ones, that have a bar then
MAX_NAME = 1.75  # inches of a label's name
BAR = 0.19  # inches: height of a line of bars
SCATTER = 1.6  # inches: height of the axes with all labels
NUMBERS = 0.52  # inches: a column of numbers beside the bars
Groups = dict[str, NDArray[np.int64]]
Values = NDArray[np.float64]


def label_scores_figure(evaluation: Evaluation, table: pd.DataFrame) -> ReportFigure:
    """Return a bar of F1 for each label, best first, with its deviation over folds.

    Args:
        evaluation: All folds.
        table: What `labels_table` makes of it.
    """
    f1, std = table["f1_mean"].to_numpy(float), table["f1_std"].to_numpy(float)
    counts = evaluation.dataset.y.sum(axis=0, dtype=np.int64)
    groups = choose(f1, counts)
    many = len(groups) > 1
    n_lines = sum(map(len, groups.values())) + (1.6 * len(groups) if many else 0)
    above = SCATTER + 0.62 if many else 0.15
    sheet = Sheet(
        f"F1 of each label: {evaluation.dataset.name}",
        _explanation(len(f1), len(evaluation.folds), many),
        above + n_lines * BAR + 0.48,
    )
    if many:
        _draw_all(sheet.axes(0.55, 0.2, WIDTH - 0.75, SCATTER - 0.2), f1, counts)
    shown = {i: fit(table["label"][i], MAX_NAME, SMALL) for i in np.concatenate([*groups.values()])}
    left = EDGE + max(widest([*shown.values()], SMALL), 0.4) + 0.07
    axes = sheet.axes(left, above, WIDTH - left - 2 * NUMBERS - EDGE, n_lines * BAR)
    places = _draw_bars(axes, groups, f1, std, n_lines)
    axes.set_yticks([])  # names are written like the other columns: ticks cost twice the time
    for right, title, texts in (
        (left - 0.07, "", [shown[i] for i in places]),
        (WIDTH - NUMBERS - EDGE, "F1", [f"{f1[i]:.2f}" for i in places]),
        (WIDTH - EDGE, "rows", [f"{counts[i]:,}" for i in places]),
    ):
        style = {"ha": "right", "size": SMALL}
        sheet.text(right, above - 0.15, title, color=FAINT, **style)
        for place, text in zip(places.values(), texts, strict=True):
            middle = above + (place + 0.5) * BAR
            sheet.text(right, middle, text, va="center_baseline", **style)
    return sheet.picture("label_scores", _alt(table["label"].tolist(), f1))


def choose(f1: Values, counts: NDArray[np.int64]) -> Groups:
    """Return the labels to draw by the title of their group, in each the best first."""
    if len(f1) <= MAX_LABELS:
        return {"": np.argsort(-f1, kind="stable")}
    by_count = np.argsort(-counts, kind="stable")
    ends = {
        f"the {N_ENDS} most frequent labels": by_count[:N_ENDS],
        f"the {N_ENDS} rarest labels": by_count[-N_ENDS:],
    }
    return {title: labels[np.argsort(-f1[labels], kind="stable")] for title, labels in ends.items()}


def _explanation(n_labels: int, n_folds: int, many: bool) -> str:
    bars = "Bars: mean over folds. Lines: standard deviation." if n_folds > 1 else "One fold."
    if not many:
        return bars
    return f"All {n_labels} labels as points, those at both ends also as bars. {bars}"


def _draw_all(axes: Axes, f1: Values, counts: NDArray[np.int64]) -> None:
    known = counts > 0
    axes.plot(counts[known], f1[known], "o", color=BLUE, alpha=0.45, markersize=4, mew=0)
    axes.set_xscale("log")
    round_ticks(axes.xaxis, *axes.get_xlim())
    axes.set(xlabel="rows with the label", ylabel="F1", ylim=(-0.03, 1.03))


def _draw_bars(
    axes: Axes, groups: Groups, f1: Values, std: Values, n_lines: float
) -> dict[int, float]:
    """Draw the groups one below the other and return the place of each label, from above."""
    places: dict[int, float] = {}
    line = 0.0
    for title, labels in groups.items():
        if title:
            axes.text(0, line + 0.75, title, size=BODY, weight="bold", va="center")
            line += 1.6
        for label in labels:
            places[int(label)] = line
            line += 1
    y, drawn = np.array([*places.values()]), [*places]
    values, spread = f1[drawn], std[drawn]
    axes.barh(y, values, height=0.72, color=SKY, linewidth=0)
    low, high = np.clip([values - spread, values + spread], 0, 1)
    axes.hlines(y, low, high, color=INK, linewidth=1.1)
    axes.set(xlim=(0, 1), ylim=(n_lines - 0.5, -0.5), xlabel="F1")
    return places


def _alt(names: list[str], f1: Values) -> str:
    best, worst = int(np.argmax(f1)), int(np.argmin(f1))
    return (
        f"F1 of {len(names)} labels: best {names[best]} with {f1[best]:.2f}, "
        f"worst {names[worst]} with {f1[worst]:.2f}, median {np.median(f1):.2f}."
    )
