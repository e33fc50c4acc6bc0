"""A ranking in one picture: means with critical-difference bars, and a forest of advantages."""

import textwrap
from collections.abc import Sequence

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.comparison import MAX_PAIRED, Pair, Ranking, conclusion, of_probability
from pipeline.errors import shorten
from pipeline.scoring import metric_title

rcParams["text.parse_math"] = False  # a name with $ is no formula
MAX_DRAWN = 30  # configurations
MAX_NAME = 44  # characters of a configuration's name
LINE = 0.3  # inches
ROOM = 0.45  # beside the means, as a multiple of their axes' width, before the next labels
# Okabe and Ito's colours, told apart by colour-blind readers.
BETTER, WORSE, BAND = "#0072B2", "#E69F00", "#DEDEDE"
INK, BAR = "#333333", "#777777"


def ranking_figure(ranking: Ranking) -> Figure:
    """Return the means above every pair's advantage; of many configurations, side by side."""
    pairs = [pair for pair in ranking.shown_pairs() if pair.second < MAX_DRAWN]
    n = min(len(ranking.names), MAX_DRAWN)
    every = len(pairs) == n * (n - 1) // 2
    heights = [LINE * n + 0.2, LINE * len(pairs) + 0.2] if every else [LINE * n + 0.2]
    figure = Figure(figsize=(11, sum(heights) + 2.4), dpi=130, layout="constrained")
    axes: dict[str, Axes] = figure.subplot_mosaic(
        [["means", "."], ["forest", "odds"]] if every else [["means", "forest", "odds"]],
        height_ratios=heights,
        width_ratios=[2.6, 1] if every else [1.3, 1.6, 1],
    )
    figure.suptitle(_title(ranking, n), x=0.012, ha="left", fontsize=10.5)
    rows = list(range(len(pairs))) if every else [pair.second for pair in pairs]
    _draw_means(axes["means"], ranking, n)
    _draw_forest(axes["forest"], ranking, pairs, rows)
    _draw_odds(axes["odds"], ranking, pairs, rows)
    labels = [f"{pair.first + 1} over {pair.second + 1}" for pair in pairs]
    axes["forest"].set_yticks(rows, labels, fontsize=9)
    for name in axes:
        axes[name].locator_params(axis="x", nbins=5)
        axes[name].set_ylim((n if name == "means" else rows[-1] + 1) - 0.4, -0.7)
        _tidy(axes[name])
    _add_legend(figure, ranking, every)
    return figure


def _title(ranking: Ranking, n: int) -> str:
    n_all = len(ranking.names) + ranking.n_unranked
    drawn = f" The best {n} of {n_all:,} are drawn." if n < n_all else ""
    return textwrap.fill(conclusion(ranking) + drawn, 115)


def _draw_means(axes: Axes, ranking: Ranking, n: int) -> None:
    """Draw a point for each configuration, and a bar beside those that are not told apart."""
    means = ranking.scores.mean(axis=1)[:n]
    axes.plot(means, range(n), "o", color=INK, markersize=6)
    for place, mean in enumerate(means):
        axes.annotate(
            f"{mean:.4f}", (mean, place), (0, 5), textcoords="offset points", ha="center", size=7.5
        )
    groups = [group for group in ranking.groups() if len(group) > 1 and group.start < n - 1]
    widest = 0.02 if n <= MAX_PAIRED else 0.04
    beside, step = axes.get_yaxis_transform(), min(widest, ROOM / max(1, len(groups)))
    width = 4 if step == widest else 2.5
    for lane, group in enumerate(groups):
        x, ends = 1.02 + step * lane, [group.start - 0.25, min(group.stop, n) - 0.75]
        bar = Line2D([x, x], ends, color=BAR, linewidth=width, solid_capstyle="round")
        bar.set_clip_on(False)
        axes.add_artist(bar).set_transform(beside)
    axes.set_yticks(
        range(n), [f"{i + 1}  {shorten(ranking.names[i], MAX_NAME)}" for i in range(n)], size=9
    )
    axes.margins(x=0.12)
    way = "lower" if ranking.lower_is_better else "higher"
    axes.set_xlabel(f"mean {metric_title(ranking.metric)} ({way} is better)", size=9)


def _draw_forest(axes: Axes, ranking: Ranking, pairs: Sequence[Pair], rows: Sequence[int]) -> None:
    """Draw each pair's interval over the region of equivalence, in blue if told apart."""
    if ranking.rope:
        axes.axvspan(-ranking.rope, ranking.rope, color=BAND, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    for row, pair in zip(rows, pairs, strict=True):
        colour, fill = (BETTER, BETTER) if ranking.differ(pair) else (INK, "white")
        if pair.test:
            axes.plot(pair.test.ci, [row, row], color=colour, linewidth=2)
        axes.plot(pair.advantage, row, "o", color=colour, markerfacecolor=fill, markersize=6)
    n_folds = ranking.scores.shape[1]
    axes.set_xlabel(f"advantage in {metric_title(ranking.metric)}, mean of {n_folds} folds", size=9)


def _draw_odds(axes: Axes, ranking: Ranking, pairs: Sequence[Pair], rows: Sequence[int]) -> None:
    """Draw each pair's probabilities as one bar, with the p-value behind it."""
    for row, pair in zip(rows, pairs, strict=True):
        if pair.test is None:
            axes.text(0.02, row, "the same in every fold", va="center", size=8, color=INK)
            continue
        left = 0.0
        for share, colour, ink in (
            (pair.test.better, BETTER, "white"),
            (pair.test.equivalent, BAND, "black"),
            (pair.test.worse, WORSE, "black"),
        ):
            axes.barh(row, share, left=left, color=colour, height=0.62)
            if share >= 0.15:
                place, number = left + share / 2, f"{share:.2f}" if share < 0.995 else ">0.99"
                axes.text(place, row, number, ha="center", va="center", size=7.5, color=ink)
            left += share
        weight = "bold" if ranking.differ(pair) else "normal"
        axes.text(1.02, row, of_probability(pair.p_holm), va="center", size=8.5, weight=weight)
    axes.text(1.02, rows[0] - 0.5, "Holm p", size=8.5, va="bottom")
    axes.set(xlim=(0, 1), yticks=[])
    axes.set_xlabel("probability", size=9)


def _add_legend(figure: Figure, ranking: Ranking, every: bool) -> None:
    def line(label: str, colour: str, fill: str) -> Line2D:
        return Line2D(
            [], [], color=colour, markerfacecolor=fill, marker="o", linewidth=2, label=label
        )

    interval = f"{1 - ranking.alpha:.0%} interval"
    entries = [
        Line2D([], [], color=BAR, linewidth=4, label="no two of these are told apart"),
        line(f"{interval}, told apart (Holm p < {ranking.alpha:g})", BETTER, BETTER),
        line(f"{interval}, not told apart", INK, "white"),
        Patch(color=BETTER, label=f"the first is better by more than {ranking.rope:g}"),
        Patch(color=BAND, label=f"practically equivalent: within {ranking.rope:g}"),
        Patch(color=WORSE, label=f"the first is worse by more than {ranking.rope:g}"),
    ]
    figure.legend(handles=entries, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)


def _tidy(axes: Axes) -> None:
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
