"""Output of a job: data set, progress, scores of folds, result and next commands."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.console.notebook_progress import is_notebook, notebook_progress
from pipeline.console.table_layout import make_table
from pipeline.errors import mask, shorten
from pipeline.runtime import is_parallel_job, own_command, relative_path
from pipeline.scoring import (
    NO_INTERVAL,
    MetricSummary,
    describe_metric,
    format_number,
    format_summary,
    interval_title,
    metric_title,
)

if TYPE_CHECKING:
    from pipeline.checks import Finding
    from pipeline.cv import SplitWarning
    from pipeline.dataset import Dataset, DataSummary
    from pipeline.tracking import Store

MAX_LABELS = 20
MAX_FEATURES = 10
N_ROWS = 3
MAX_NAME = 30  # characters of a label's name
MAX_WARNINGS = 5
_out = Console(highlight=False, soft_wrap=True, markup=False)
_page = Console(highlight=False, markup=False, width=100)
_err = Console(stderr=True, highlight=False)
_CONSOLES = (_out, _page, _err)


class _State:
    """Settings of this process."""

    progress: bool | None = None  # whether to show the progress; None: as the output allows


def show_dataset(dataset: "Dataset", summary: "DataSummary") -> None:
    """Print shape, label counts, the first rows and the warnings of a data set."""
    show_shape(summary)
    show_notes(dataset.notes)
    counts = zip(summary.label_names, summary.label_counts, strict=True)
    shown = [f"{shorten(name, MAX_NAME)} {n}" for name, n in counts]
    if summary.coverage:
        shown = [f"{it} of {n}" for it, n in zip(shown, summary.n_labelled, strict=True)]
    more = f", and {len(shown) - MAX_LABELS} more" if len(shown) > MAX_LABELS else ""
    _out.print(f"rows with each label: {', '.join(shown[:MAX_LABELS])}{more}")
    for row in range(min(N_ROWS, dataset.n_samples)):
        values = " ".join(dataset.value(row, i) for i in range(dataset.n_features)[:MAX_FEATURES])
        dots = " ..." if dataset.n_features > MAX_FEATURES else ""
        labels = " ".join(dataset.label_value(row, i) for i in range(dataset.n_labels)[:MAX_LABELS])
        _out.print(f"  {values}{dots} -> {labels}")
    show_warnings(dataset.warnings)


def show_shape(summary: "DataSummary") -> None:
    """Print the numbers of rows, features and labels."""
    _out.print(
        f"{summary.name}: {summary.n_samples} rows, {summary.n_features} features, "
        f"{summary.n_labels} labels; {summary.cardinality:.3f} labels per row, "
        f"{summary.describe_unlabelled()}"
    )
    if summary.coverage:
        _out.print(f"{summary.describe_coverage()}.")


def show_notes(notes: Sequence[str]) -> None:
    """Print how columns of a data set were read."""
    for note in notes[:MAX_WARNINGS]:
        _out.print(f"Note: {note}.")
    if len(notes) > MAX_WARNINGS:
        _out.print(f"... and {len(notes) - MAX_WARNINGS} more notes")


def show_duplicates(summary: "DataSummary") -> None:
    """Print the number of rows that have the same features as another row."""
    if not summary.n_duplicates:
        _out.print("No two rows have the same features.")
        return
    _out.print(summary.describe_duplicates(), style="yellow")


def show(*parts: RenderableType) -> None:
    """Print texts unwrapped, and tables within the terminal or, without one, 100 columns."""
    for part in parts:
        console = _out if isinstance(part, str) or _out.is_terminal else _page
        console.print(part)


def show_split_warnings(split_warnings: Sequence["SplitWarning"]) -> None:
    """Print one line for each warning about the folds."""
    for warning in split_warnings:
        _out.print(str(warning), style="yellow")


@contextmanager
def waiting(activity: str) -> Iterator[None]:
    """Show an activity on a terminal while it lasts, unless jobs run in parallel."""
    is_hidden = is_parallel_job() or _out.quiet or is_notebook()
    with nullcontext() if is_hidden else _out.status(activity):
        yield


@contextmanager
def silence(progress: bool) -> Iterator[None]:
    """Print nothing during the block, but show the progress of the training if requested."""
    were_quiet = [console.quiet for console in _CONSOLES]
    previous, _State.progress = _State.progress, progress
    try:
        for console in _CONSOLES:
            console.quiet = True
        yield
    finally:
        _State.progress = previous
        for console, was_quiet in zip(_CONSOLES, were_quiet, strict=True):
            console.quiet = was_quiet


@contextmanager
def progress_bar(
    total: int, unit: str, needs_terminal: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show the progress of the training; the yielded function advances it, from any thread.

    Args:
        total: Number of units.
        unit: Name of a unit, in the plural.
        needs_terminal: Whether to print nothing if the output is not a terminal.
    """
    is_shown = _State.progress
    if is_shown is None:
        is_shown = not is_parallel_job() and (_out.is_terminal or not needs_terminal)
    if not is_shown:
        yield lambda n: None
        return
    if is_notebook():
        with notebook_progress(total, unit) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
        TimeRemainingColumn(),
    )
    console = Console() if _State.progress else _out
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("training all folds", total=total)
        yield lambda n: progress.advance(task, n)


def show_warnings(warnings: Sequence[str]) -> None:
    """Print the first warnings of a data set or a training, and the number of the others."""
    for warning in warnings[:MAX_WARNINGS]:
        _out.print(f"Warning: {warning}.", style="yellow")
    if len(warnings) > MAX_WARNINGS:
        _out.print(f"... and {len(warnings) - MAX_WARNINGS} more", style="yellow")


def show_fold(score: float) -> None:
    """Print the headline score of one fold."""
    _out.print(f">{format_number(score)}")


def show_findings(findings: Sequence["Finding"]) -> None:
    """Print what the checks of data, folds and predictions have to say."""
    for finding in findings:
        _out.print(f"{finding}.", style="yellow" if finding.severity == "warning" else None)


def show_result(summary: Mapping[str, MetricSummary], suffix: str = "") -> None:
    """Print the headline, all metrics with their intervals, and where they are undefined.

    Args:
        summary: Summary of each metric, the headline first.
        suffix: Text after the headline's name, such as " of the first repeat".
    """
    headline, first = next(iter(summary.items()))
    _out.print(f"{metric_title(headline)}{suffix}: {format_summary(first).headline}", style="bold")
    table = make_table("metric", "mean", "std", interval_title(first))
    for name, metric in summary.items():
        table.add_row(metric_title(name), *format_summary(metric))
    _out.print(table)
    for name, metric in summary.items():
        if undefined := metric.describe_undefined():
            _out.print(f"{metric_title(name)}: {undefined}; skipped in the means")
    if first.windows:
        _out.print(NO_INTERVAL)


def show_sweep(run_id: str, n_jobs: int | None, is_resumed: bool, resume: bool) -> None:
    """Print that a sweep starts or continues.

    Args:
        run_id: Id of its parent run.
        n_jobs: Number of jobs; None if unknown.
        is_resumed: Whether it continues an earlier sweep.
        resume: Whether the user requested that.
    """
    if resume and not is_resumed:
        _out.print("resume=true: no earlier sweep matches; starting a new one.", style="yellow")
    jobs = "" if n_jobs is None else f" of {n_jobs} {'job' if n_jobs == 1 else 'jobs'}"
    _out.print(f"{'Resuming the sweep' if is_resumed else 'Sweep'}{jobs}, run {run_id}")


def show_job(title: str) -> None:
    """Print the title of a job of a sweep as it starts."""
    _out.print(title, style="bold")


def show_job_result(position: str, summary: Mapping[str, MetricSummary], note: str) -> None:
    """Print the headline of a job of a sweep in one line.

    Args:
        position: Position of the job, such as `[2/4]`.
        summary: Summary of each metric, the headline first.
        note: Text at the end of the line, such as the duration.
    """
    _out.print(f"{position} {describe_metric(*next(iter(summary.items())))}; {note}")


def show_reused(run_id: str) -> None:
    """Print that a finished run is reused."""
    _out.print(f"Reusing finished run {run_id} (same settings, data and code):")


def show_continued(position: str, run_id: str, n_finished: int, n_folds: int) -> None:
    """Print that an interrupted run continues.

    Args:
        position: Position of the job; empty outside sweeps.
        run_id: Id of the run.
        n_finished: Number of finished folds.
        n_folds: Number of all folds.
    """
    finished = f"{n_finished} of {n_folds} folds are finished"
    _out.print(f"{position} Continuing run {run_id}: {finished}.".lstrip())


def show_checkpoint_error(error: OSError) -> None:
    """Print that finished folds could not be saved for `resume=true`."""
    _out.print(f"Cannot save finished folds for resume=true: {error}", style="yellow")


def show_commands(commands: Mapping[str, str]) -> None:
    """Print the next useful commands, each after its purpose."""
    width = max(map(len, commands))
    for name, command in commands.items():
        _out.print(f"{name:{width}}  {command}")


def show_prediction(y_score: NDArray[np.float64]) -> None:
    """Print the probabilities of one new row."""
    _out.print(f"Predicted: [{' '.join(f'{value:.5f}' for value in y_score)}]")


def show_run(run_id: str, experiment: str, page: str) -> None:
    """Print the id of a run, and the address of its page or the command that opens it."""
    _out.print(f"Run {run_id} in experiment {experiment!r}. Open its page:")
    _out.print(f"  {page}")


def run_command(name: str, run_id: str, store: "Store", *options: str) -> str:
    """Return a command of this program for a run of a store, quoted for a shell."""
    settings = [] if store.is_default else [f"tracking.uri={mask(store.uri)}"]
    return own_command(name, run_id, *options, *settings)


def show_file(name: str, path: Path) -> None:
    """Print the path of a written file."""
    _out.print(f"{name}: {relative_path(path)}")


def show_error(message: str) -> None:
    """Print an error message to the standard error stream."""
    _err.print(mask(message), markup=False, style="red", soft_wrap=True)
