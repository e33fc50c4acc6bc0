"""Show on the standard error stream how many rows are predicted."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pipeline.scoring import format_number, metric_title

_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
MIN_SECONDS = 0.1  # between two updates


@contextmanager
def row_progress() -> Iterator[Callable[[int, float | None], None]]:
    """Show the rows per second and the time left; the last line stays.

    The yielded function receives the number of rows, and the fraction of the file that is read.
    """
    began, last, n_done = time.monotonic(), 0.0, 0
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task("", total=1.0)

        def update(n_rows: int, fraction: float | None) -> None:
            nonlocal last, n_done
            n_done, now = n_rows, time.monotonic()
            if now - last < MIN_SECONDS:
                return
            last, seconds = now, now - began
            left = f", {_format_seconds(seconds / fraction - seconds)} left" if fraction else ""
            text = f"{n_rows:,} rows, {n_rows / max(seconds, 1e-9):,.0f} rows/s{left}"
            progress.update(task, completed=fraction or 0.0, description=text)

        yield update
    seconds = time.monotonic() - began
    rows = f"{n_done:,} row{'' if n_done == 1 else 's'}"
    speed = f", {n_done / seconds:,.0f} rows/s" if seconds >= MIN_SECONDS else ""
    show_note(f"{rows} in {max(seconds, 0.1):.1f} s{speed}")


def show_scores(scores: Mapping[str, float], to_stderr: bool) -> None:
    """Print one line for each metric."""
    console = _err if to_stderr else _out
    width = max((len(metric_title(name)) for name in scores), default=0)
    for name, value in scores.items():
        number = format_number(value) if np.isfinite(value) else "undefined"
        console.print(f"{metric_title(name):{width}}  {number}")


def show_note(text: str) -> None:
    """Print a line to the standard error stream."""
    _err.print(text)


def _format_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
