"""What a job prints: the data, progress, each fold, the result and where to look."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.dataset import Dataset
from pipeline.scoring import Summary

MAX_LABELS = 20  # shown; the others are counted
MAX_FEATURES = 10
N_ROWS = 3
MAX_WARNINGS = 5

_out = Console(highlight=False, soft_wrap=True, markup=False)
_err = Console(stderr=True, highlight=False)


def show_dataset(dataset: Dataset) -> None:
    """Print shape, label counts, cardinality and the first rows."""
    cardinality = dataset.y.sum(axis=1).mean()
    _out.print(
        f"{dataset.name}: {dataset.n_samples} rows, {dataset.n_features} features, "
        f"{dataset.n_labels} labels; {cardinality:.3f} labels per row, "
        f"{(dataset.y.sum(axis=1) == 0).sum()} rows without"
    )
    counts = dataset.y.sum(axis=0)
    shown = [f"{name} {n}" for name, n in zip(dataset.label_names, counts, strict=True)]
    rest = f", and {len(shown) - MAX_LABELS} more" if len(shown) > MAX_LABELS else ""
    _out.print(f"rows with each label: {', '.join(shown[:MAX_LABELS])}{rest}")
    width = MAX_FEATURES if dataset.n_features > MAX_FEATURES else None
    for x, y in zip(dataset.X[:N_ROWS], dataset.y[:N_ROWS], strict=True):
        values = " ".join(_value(dataset, j, value) for j, value in enumerate(x[:width]))
        labels = " ".join(map(str, y[:MAX_LABELS]))
        _out.print(f"  {values}{' ...' if width else ''} -> {labels}")
    for warning in dataset.warnings[:MAX_WARNINGS]:
        _out.print(f"Warning: {warning}.", style="yellow")
    if len(dataset.warnings) > MAX_WARNINGS:
        _out.print(f"Warning: {len(dataset.warnings) - MAX_WARNINGS} more.", style="yellow")


def _value(dataset: Dataset, column: int, value: float) -> str:
    """Return a feature's value as it stood in the source: a category's text, ? where missing."""
    if np.isnan(value):
        return "?"
    categories = dataset.categories[column] if dataset.categories else None
    return categories[int(value)] if categories else f"{value:.4g}"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that something is under way, where a person looks on."""
    with _out.status(what):
        yield


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show how far the training is; what is yielded advances it, from any thread."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} epochs"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_out, transient=True) as progress:
        task = progress.add_task("training all folds", total=total)
        yield lambda n: progress.advance(task, n)


def show_fold(score: float) -> None:
    """Print the headline score of one fold."""
    _out.print(f">{score:.3f}")


def show_result(summary: dict[str, Summary]) -> None:
    """Print the headline with its interval, then the other metrics."""
    names = {name: name.replace("_", " ").capitalize() for name in summary}
    headline, *others = summary
    first = summary[headline]
    _out.print(f"{names[headline]}: {first.mean:.3f} ({first.std:.3f})", style="bold")
    table = Table("metric", "mean", "std", "95% interval of the mean", box=None, pad_edge=False)
    for name in (headline, *others):
        metric = summary[name]
        interval = f"{metric.ci[0]:.3f} to {metric.ci[1]:.3f}" if metric.ci else ""
        table.add_row(names[name], f"{metric.mean:.3f}", f"{metric.std:.3f}", interval)
    _out.print(table)


def show_prediction(y_score: NDArray[np.float64]) -> None:
    """Print the probabilities of one new row."""
    _out.print(f"Predicted: [{' '.join(f'{value:.5f}' for value in y_score)}]")


def show_where(uri: str, database: Path | None, experiment: str, run_id: str) -> None:
    """Print where the run is and the exact command that shows it."""
    mlflow = _short(Path(sys.executable).with_name("mlflow"))
    store = f"sqlite:///{_short(database)}" if database else uri
    _out.print(f"Run {run_id} in experiment {experiment!r}; look at it with")
    _out.print(f"  {mlflow} ui --backend-store-uri {shlex.quote(store)}")


def show_error(message: str) -> None:
    """Print what went wrong, to the error stream."""
    _err.print(message, markup=False, style="red", soft_wrap=True)


def _short(path: Path) -> str:
    """Return the path from the working directory if it lies below, else the absolute one."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
