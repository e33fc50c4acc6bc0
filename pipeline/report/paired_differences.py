"""Figure of a ranking: means with critical-difference bars, and the difference of each pair."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.comparison import (
    MAX_PAIRED,
    Pair,
    Ranking,
    describe_conclusion,
    format_probability,
)
from pipeline.errors import shorten
from pipeline.report.glyphs import to_drawable
from pipeline.report.style import Style, report_style
from pipeline.scoring import format_number, metric_title

MAX_CONFIGURATIONS = 30  # in the figure, the best ones
MAX_NAME = 44  # characters of a configuration's name
LINE = 0.3  # inches
BARS_WIDTH = 0.45  # at the right of the means, relative to the width of their axes
BETTER, WORSE, EQUIVALENT = "#0072B2", "#E69F00", "#DEDEDE"  # Okabe and Ito, for the colour-blind
DARK_GREY, BAR = "#333333", "#777777"


def write_ranking(ranking: Ranking, path: Path) -> None:
    """Write the figure of a ranking; the suffix of the path decides the format."""
    with report_style(ranking.names):
        draw_ranking(ranking).savefig(path)


def draw_ranking(ranking: Ranking) -> Figure:
    """Draw the means above the differences of all pairs, or beside those with the best."""
    pairs = [pair for pair in ranking.shown_pairs() if pair.second < MAX_CONFIGURATIONS]
    n = min(len(ranking.names), MAX_CONFIGURATIONS)
    has_all_pairs = len(pairs) == n * (n - 1) // 2
    heights = [LINE * n + 0.2, LINE * len(pairs) + 0.2] if has_all_pairs else [LINE * n + 0.2]
    figure = Figure(figsize=(11, sum(heights) + 2.4), dpi=130, layout="constrained")
    layout = [["means", "."], ["differences", "probabilities"]]
    axes: dict[str, Axes] = figure.subplot_mosaic(
        layout if has_all_pairs else [["means", "differences", "probabilities"]],
        height_ratios=heights,
        width_ratios=[2.6, 1] if has_all_pairs else [1.3, 1.6, 1],
    )
    figure.suptitle(_title(ranking, n), x=0.012, ha="left", fontsize=10.5)
    rows = list(range(len(pairs))) if has_all_pairs else [pair.second for pair in pairs]
    _draw_means(axes["means"], ranking, n)
    _draw_differences(axes["differences"], ranking, pairs, rows)
    _draw_probabilities(axes["probabilities"], ranking, pairs, rows)
    labels = [f"{pair.first + 1} over {pair.second + 1}" for pair in pairs]
    axes["differences"].set_yticks(rows, labels, fontsize=9)
    for name in axes:
        axes[name].locator_params(axis="x", nbins=5)
        axes[name].set_ylim((n if name == "means" else rows[-1] + 1) - 0.4, -0.7)
        axes[name].tick_params(axis="y", length=0)
        axes[name].spines["left"].set_visible(False)
        axes[name].grid(False, axis="y")
    if ranking.has_tests:
        _add_legend(figure, ranking)
    return figure


def _title(ranking: Ranking, n: int) -> str:
    n_all = len(ranking.names) + ranking.n_unranked
    shown = f" The best {n} of {n_all:,} are shown." if n < n_all else ""
    return textwrap.fill(describe_conclusion(ranking) + shown, 115)


def _draw_means(axes: Axes, ranking: Ranking, n: int) -> None:
    """Draw the mean of each configuration, and bars beside those without significant difference."""
    means = ranking.scores.mean(axis=1)[:n]
    axes.plot(means, range(n), "o", color=DARK_GREY, markersize=6)
    for row, mean in enumerate(means):
        text = format_number(mean, ranking.decimals)
        style: Style = {"textcoords": "offset points", "ha": "center", "size": 7.5}
        axes.annotate(text, (mean, row), (0, 5), **style)
    groups = [group for group in ranking.groups() if len(group) > 1 and group.start < n - 1]
    groups = groups if ranking.has_tests else []
    max_step = 0.02 if n <= MAX_PAIRED else 0.04
    step = min(max_step, BARS_WIDTH / max(1, len(groups)))
    width = 4 if step == max_step else 2.5
    for column, group in enumerate(groups):
        x, ends = 1.02 + step * column, [group.start - 0.25, min(group.stop, n) - 0.75]
        bar = Line2D([x, x], ends, color=BAR, linewidth=width, solid_capstyle="round")
        bar.set_clip_on(False)
        axes.add_artist(bar).set_transform(axes.get_yaxis_transform())
    names = to_drawable(ranking.names)
    axes.set_yticks(range(n), [f"{i + 1}  {shorten(names[i], MAX_NAME)}" for i in range(n)], size=9)
    axes.margins(x=0.12)
    better = "lower" if ranking.lower_is_better else "higher"
    axes.set_xlabel(f"mean {metric_title(ranking.metric)} ({better} is better)", size=9)


def _draw_differences(
    axes: Axes, ranking: Ranking, pairs: Sequence[Pair], rows: Sequence[int]
) -> None:
    """Draw the interval of each difference, in blue if significant, over the equivalence region."""
    if ranking.rope:
        axes.axvspan(-ranking.rope, ranking.rope, color=EQUIVALENT, linewidth=0)
    axes.axvline(0, color=DARK_GREY, linewidth=0.8)
    for row, pair in zip(rows, pairs, strict=True):
        is_significant = ranking.is_significant(pair)
        colour, fill = (BETTER, BETTER) if is_significant else (DARK_GREY, "white")
        if pair.test:
            axes.plot(pair.test.ci, [row, row], color=colour, linewidth=2)
        axes.plot(pair.advantage, row, "o", color=colour, markerfacecolor=fill, markersize=6)
    n_folds = ranking.scores.shape[1]
    axes.set_xlabel(f"advantage in {metric_title(ranking.metric)}, mean of {n_folds} folds", size=9)


def _draw_probabilities(
    axes: Axes, ranking: Ranking, pairs: Sequence[Pair], rows: Sequence[int]
) -> None:
    """Draw the probabilities of each pair as one stacked bar, with the p-value at its right."""
    for row, pair in zip(rows, pairs, strict=True):
        if pair.test is None:
            text = "same in every fold"
            if not ranking.has_tests:
                text = f"ahead in {pair.n_ahead} of {ranking.scores.shape[1]} windows"
            axes.text(0.02, row, text, va="center", size=8, color=DARK_GREY)
            continue
        left = 0.0
        for probability, colour, text_colour in (
            (pair.test.better, BETTER, "white"),
            (pair.test.equivalent, EQUIVALENT, "black"),
            (pair.test.worse, WORSE, "black"),
        ):
            axes.barh(row, probability, left=left, color=colour, height=0.62)
            if probability >= 0.15:
                text = f"{probability:.2f}" if probability < 0.995 else ">0.99"
                style: Style = {"ha": "center", "va": "center", "size": 7.5, "color": text_colour}
                axes.text(left + probability / 2, row, text, **style)
            left += probability
        weight = "bold" if ranking.is_significant(pair) else "normal"
        axes.text(1.02, row, format_probability(pair.p_holm), va="center", size=8.5, weight=weight)
    if ranking.has_tests:
        axes.text(1.02, rows[0] - 0.5, "Holm p", size=8.5, va="bottom")
    axes.set(xlim=(0, 1), yticks=[])
    if ranking.has_tests:
        axes.set_xlabel("probability", size=9)
    else:
        axes.set_xticks([])


def _add_legend(figure: Figure, ranking: Ranking) -> None:
    def line(label: str, colour: str, fill: str) -> Line2D:
        return Line2D(
            [], [], color=colour, markerfacecolor=fill, marker="o", linewidth=2, label=label
        )

    interval, rope = f"{1 - ranking.alpha:.0%} interval", f"{ranking.rope:g}"
    entries = [
        Line2D([], [], color=BAR, linewidth=4, label="no significant difference among these"),
        line(f"{interval}, significant (Holm p < {ranking.alpha:g})", BETTER, BETTER),
        line(f"{interval}, not significant", DARK_GREY, "white"),
        Patch(color=BETTER, label=f"the first is better by more than {rope}"),
        Patch(color=EQUIVALENT, label=f"practically equivalent: within {rope}"),
        Patch(color=WORSE, label=f"the first is worse by more than {rope}"),
    ]
    figure.legend(handles=entries, loc="outside lower left", ncols=3, fontsize=8.5)
