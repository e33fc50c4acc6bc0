"""What a job prints: the data, progress, each fold, the result and where to look."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.errors import shorten
from pipeline.runtime import is_parallel_job, own_command, relative_path
from pipeline.scoring import MetricSummary, metric_title

if TYPE_CHECKING:
    from pipeline.cv import SplitWarning
    from pipeline.dataset import Dataset, DataSummary
    from pipeline.tracking import Store

MAX_LABELS = 20  # shown; the others are counted
MAX_FEATURES = 10
N_ROWS = 3
MAX_NAME = 30  # characters of a label's name
MAX_WARNINGS = 5
_out = Console(highlight=False, soft_wrap=True, markup=False)
_page = Console(highlight=False, markup=False, width=100)
_err = Console(stderr=True, highlight=False)


def show_dataset(dataset: "Dataset", summary: "DataSummary") -> None:
    """Print shape, label counts, cardinality, the first rows and what is wrong with the rows."""
    show_shape(summary)
    counts = zip(summary.label_names, summary.label_counts, strict=True)
    shown = [f"{shorten(name, MAX_NAME)} {n}" for name, n in counts]
    rest = f", and {len(shown) - MAX_LABELS} more" if len(shown) > MAX_LABELS else ""
    _out.print(f"rows with each label: {', '.join(shown[:MAX_LABELS])}{rest}")
    for row in range(min(N_ROWS, dataset.n_samples)):
        values = " ".join(dataset.value(row, i) for i in range(dataset.n_features)[:MAX_FEATURES])
        more = " ..." if dataset.n_features > MAX_FEATURES else ""
        labels = " ".join(map(str, dataset.y[row, :MAX_LABELS]))
        _out.print(f"  {values}{more} -> {labels}")
    if summary.n_duplicates:
        show_duplicates(summary)
    show_warnings(dataset)


def show_warnings(dataset: "Dataset") -> None:
    """Print what may surprise in the data but can be worked with."""
    for warning in dataset.warnings[:MAX_WARNINGS]:
        _out.print(f"Warning: {warning}.", style="yellow")
    if len(dataset.warnings) > MAX_WARNINGS:
        _out.print(f"Warning: {len(dataset.warnings) - MAX_WARNINGS} more.", style="yellow")


def show_shape(summary: "DataSummary") -> None:
    """Print how large the table is and how full of labels."""
    _out.print(
        f"{summary.name}: {summary.n_samples} rows, {summary.n_features} features, "
        f"{summary.n_labels} labels; {summary.cardinality:.3f} labels per row, "
        f"{summary.n_unlabelled} rows without"
    )


def show_duplicates(summary: "DataSummary") -> None:
    """Print how many rows repeat others."""
    if not summary.n_duplicates:
        _out.print("No row has the features of another.")
        return
    _out.print(summary.describe_duplicates(), style="yellow")


def show(*parts: RenderableType) -> None:
    """Print text as it is, and tables within the width of the screen, or of a page."""
    for part in parts:
        screen = _out if isinstance(part, str) or _out.is_terminal else _page
        screen.print(part)


def show_split_warnings(split_warnings: Sequence["SplitWarning"]) -> None:
    """Print a line for each kind of trouble that the folds will have."""
    for trouble in split_warnings:
        _out.print(str(trouble), style="yellow")


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that something is under way, where a person looks on and jobs do not run at once."""
    with nullcontext() if is_parallel_job() else _out.status(what):
        yield


@contextmanager
def progress_bar(total: int, unit: str, of_sweep: bool) -> Iterator[Callable[[int], None]]:
    """Show how far the training is; what is yielded advances it, from any thread.

    Args:
        total: How much there is to do.
        unit: What it is counted in.
        of_sweep: Whether to leave no trace where no person looks on.
    """
    if is_parallel_job() or (of_sweep and not _out.is_terminal):
        yield lambda n: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_out, transient=True) as progress:
        task = progress.add_task("training all folds", total=total)
        yield lambda n: progress.advance(task, n)


def show_training_warnings(warnings: Sequence[str]) -> None:
    """Print what the user should know of how the models were trained."""
    for warning in warnings[:MAX_WARNINGS]:
        _out.print(f"Warning: {warning}.", style="yellow")


def show_fold(score: float) -> None:
    """Print the headline score of one fold."""
    _out.print(f">{_number(score)}")


def show_result(summary: dict[str, MetricSummary], of: str = "") -> None:
    """Print the headline, then all metrics with their intervals and what is left out of them.

    Args:
        summary: Each metric, the headline first.
        of: Said behind the headline's name, where it is not of all folds.
    """
    headline, first = next(iter(summary.items()))
    line = f"{metric_title(headline)}{of}: {_number(first.mean)}"
    _out.print(f"{line} ({first.std:.3f})" if first.n_folds else line, style="bold")
    table = Table("metric", "mean", "std", "95% interval of the mean", box=None, pad_edge=False)
    for name, metric in summary.items():
        interval = _interval(metric)
        std = f"{metric.std:.3f}" if metric.n_folds else ""
        table.add_row(metric_title(name), _number(metric.mean), std, interval)
    _out.print(table)
    for name, metric in summary.items():
        if undefined := metric.describe_undefined():
            _out.print(f"{metric_title(name)}: {undefined}; left out of the means")


def show_sweep(run_id: str, n_jobs: int | None, is_resumed: bool, resume: bool) -> None:
    """Print which sweep begins, or goes on.

    Args:
        run_id: Of its parent run.
        n_jobs: How many jobs it has, or None.
        is_resumed: Whether it goes on.
        resume: Whether it was to.
    """
    if resume and not is_resumed:
        _out.print(
            "resume=true: no sweep of this very command by the same code is there. This is a new "
            "one, and trains everything.",
            style="yellow",
        )
    jobs = "" if n_jobs is None else f" of {n_jobs} {'job' if n_jobs == 1 else 'jobs'}"
    _out.print(f"{'Resuming the sweep' if is_resumed else 'Sweep'}{jobs}, run {run_id}")


def show_job(title: str) -> None:
    """Print which job of a sweep begins."""
    _out.print(title, style="bold")


def show_job_result(number: str, summary: Mapping[str, MetricSummary], how: str) -> None:
    """Print the headline of a job of a sweep in one line.

    Args:
        number: Its number, in brackets.
        summary: Its metrics, the headline first.
        how: What else there is to say.
    """
    headline, metric = next(iter(summary.items()))
    std = f" ({metric.std:.3f})" if metric.n_folds else ""
    interval = f", 95% interval {_interval(metric)}" if metric.ci else ""
    _out.print(f"{number} {metric_title(headline)}: {_number(metric.mean)}{std}{interval}; {how}")


def show_reused(run_id: str) -> None:
    """Print that nothing is left to do."""
    _out.print(f"Finished before, on the same data by the same code, as run {run_id}:")


def show_continued(number: str, run_id: str, n_finished: int, n_folds: int) -> None:
    """Print that an earlier run goes on.

    Args:
        number: Of the job, in brackets; empty outside sweeps.
        run_id: Of the run.
        n_finished: Folds that are finished.
        n_folds: Folds in all.
    """
    _out.print(
        f"{number} Continuing run {run_id}: {n_finished} of {n_folds} folds are finished.".lstrip()
    )


def show_not_kept(error: OSError) -> None:
    """Print that finished folds will be lost if the run is cut off."""
    _out.print(f"Finished folds cannot be kept for `resume`: {error}", style="yellow")


def show_commands(commands: Mapping[str, str]) -> None:
    """Print what can be done next: a word and the exact command for each."""
    width = max(map(len, commands))
    for what, command in commands.items():
        _out.print(f"{what:{width}}  {command}")


def _number(score: float) -> str:
    return f"{score:.3f}" if math.isfinite(score) else "undefined"


def _interval(metric: MetricSummary) -> str:
    return f"{metric.ci[0]:.3f} to {metric.ci[1]:.3f}" if metric.ci else ""


def show_prediction(y_score: NDArray[np.float64]) -> None:
    """Print the probabilities of one new row."""
    _out.print(f"Predicted: [{' '.join(f'{value:.5f}' for value in y_score)}]")


def show_run(run_id: str, experiment: str, command: str, address: str) -> None:
    """Print the id of a run, the command that opens its page, and the address of the page."""
    _out.print(f"Run {run_id} in experiment {experiment!r}. Open its page with")
    _out.print(f"  {command}")
    _out.print(f"at {address}")


def run_command(name: str, run_id: str, store: "Store") -> str:
    """Return the command of this program for a run of a store, as a shell takes it."""
    settings = [] if store.is_default else [f"tracking.uri={store.uri}"]
    return own_command(name, run_id, *settings)


def show_file(what: str, path: Path) -> None:
    """Print where a file was written."""
    _out.print(f"{what}: {relative_path(path)}")


def show_error(message: str) -> None:
    """Print what went wrong, to the error stream."""
    _err.print(message, markup=False, style="red", soft_wrap=True)
