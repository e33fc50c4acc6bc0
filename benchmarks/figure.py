"""Draw the benchmark's results on logarithmic axes."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks.contest import CONTENDERS
from benchmarks.results import find_work, seconds_after
from benchmarks.works import WORKS

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

N_COLUMNS = 4
Result = dict[str, Any]


def draw_figure(results: Result, path: Path) -> None:
    """Write a PNG: seconds of the contestants by size of the work, and Manyfold's curves."""
    pieces = results["pieces"]
    curves = dict(pieces["curves"]["points"]) if "curves" in pieces else {}
    n_panels = 1 + len(curves) + ("sweep" in pieces)
    n_columns = min(N_COLUMNS, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure, grid = plt.subplots(
        n_rows,
        n_columns,
        figsize=(4 * n_columns, 3.4 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    axes = iter(grid.flat)
    _draw_contest(next(axes), pieces)
    for quantity, points in curves.items():
        measured = [point for point in points if "error" not in point]
        _draw_curve(next(axes), quantity, measured)
    if "sweep" in pieces:
        seconds = np.cumsum([0, *pieces["sweep"]["jobs"]]) + _first_job(pieces["sweep"])
        ax = next(axes)
        ax.plot(range(1, len(seconds) + 1), seconds, marker=".")
        ax.set_ylim(bottom=0)
        _label(ax, "configurations in one process", "seconds, with the imports")
    for ax in axes:
        ax.set_axis_off()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _first_job(sweep: Result) -> float:
    return float(sweep["seconds"][0] - sum(sweep["jobs"]))


def _draw_contest(ax: Axes, pieces: Result) -> None:
    for key, contender in CONTENDERS.items():
        points = []
        for name in WORKS:
            contestant = pieces.get(name, {}).get("contestants", {}).get(key, {})
            if contestant:
                work = find_work(pieces[name])
                points.append((work.operations, seconds_after(contestant, work)))
        measured = sorted(point for point in points if point[1] is not None)
        if measured:
            is_ours = key == "manyfold"
            ax.loglog(
                *zip(*measured, strict=True),
                marker="o" if is_ours else ".",
                linewidth=2.5 if is_ours else 1,
                color="black" if is_ours else None,
                label=contender.title,
            )
    if ax.lines:
        # Below the axes: no corner is free of lines.
        ax.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    _label(ax, "floating-point operations of the work", "seconds after compiling")


def _draw_curve(ax: Axes, quantity: str, points: list[Result]) -> None:
    values = [point["value"] for point in points]
    for key, name in (("first", "first training"), ("later", "after compiling")):
        ax.loglog(values, [point[key] for point in points], marker=".", label=name)
    other = ax.twinx()
    memory = [point["memory"] for point in points]
    other.semilogx(values, memory, ":", color="gray", label="memory")
    other.set_ylim(0, 1.3 * max(memory))
    other.set_ylabel("MB", color="gray", fontsize=8)
    ax.set_xticks(values, [f"{value:,}" for value in values], minor=False)
    ax.set_xticks([], minor=True)
    handles = [*ax.lines, *other.lines]
    ax.legend(handles, [str(line.get_label()) for line in handles], fontsize=6)
    _label(ax, quantity, "seconds")


def _label(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, fontsize=8)
    ax.set_ylabel(y, fontsize=8)
    ax.grid(visible=True, which="major", alpha=0.3)
