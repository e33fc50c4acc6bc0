"""A leaderboard as a figure: the mean of each job and the interval it may lie in."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.comparison import Leaderboard
from pipeline.errors import shorten
from pipeline.scoring import metric_title

N_BEST = 30  # drawn
WIDTH = 60  # characters of a job's name
BLUE, GREY = "#0072B2", "#444444"  # the first of Okabe and Ito


def leaderboard_figure(board: Leaderboard) -> Figure:
    """Return mean and interval of the best jobs, the first on top."""
    entries = board.entries[: min(board.n_ranked, N_BEST)]
    figure = Figure(figsize=(9, 1.6 + 0.28 * max(len(entries), 3)), dpi=110, layout="constrained")
    axes = figure.subplots()
    means = np.array([board.value(entry, "mean") for entry in entries], dtype=float)
    ends = [(board.value(entry, "ci_low"), board.value(entry, "ci_high")) for entry in entries]
    low, high = np.array(ends, dtype=float).reshape(-1, 2).T
    for place, colour in enumerate([BLUE, *[GREY] * (len(entries) - 1)][: len(entries)]):
        axes.plot([low[place], high[place]], [place, place], color=colour, linewidth=1.6)
        axes.plot(means[place], place, "o", color=colour, markersize=6)
    axes.axvline(means[0], color=BLUE, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(entries)), [shorten(entry.name, WIDTH) for entry in entries])
    axes.set_ylim(len(entries) - 0.5, -0.5)
    better = "less" if board.criterion.minimize else "more"
    axes.set_xlabel(
        f"{metric_title(board.metric)}: mean over folds and its 95% interval ({better} is better)"
    )
    shown = f"The best {len(entries)} of {board.n_ranked}" if board.n_ranked > N_BEST else "All"
    axes.set_title(f"{shown} finished jobs, the best on top", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure
