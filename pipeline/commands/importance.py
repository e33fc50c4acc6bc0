"""Show the permutation importance of the features of a run."""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.command_line import add_run_argument, make_command_parser, parse, run
from pipeline.commands.reproduce import SAME_DATA, compose_again, separate
from pipeline.config import IMPORTANCE, TrackingConfig, parse_config
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from pipeline.tracking import RunReader, RunRecord

MAX_FEATURES = 20  # on screen
SETTINGS = (f"{IMPORTANCE}_", "dataset.path=")
MEASURED_LATER = "importance_settings"  # tag of a run whose importance was measured by the command


def main(argv: Sequence[str]) -> int:
    """Show the importance of the run that the arguments name and return the exit code."""
    others, changes = separate(argv)
    return run(lambda: _importance(*parse(make_parser(), others), changes))


def _importance(
    arguments: argparse.Namespace, tracking: TrackingConfig, changes: Sequence[str]
) -> None:
    with heavy_imports():
        import pyarrow as pa

        from pipeline import console
        from pipeline.console.importance_tables import importance_tables
        from pipeline.prediction.output_files import check_output, open_output
        from pipeline.tracking import RunReader, locate, read_importance
        from pipeline.tracking.final_models import find_run

    check_output(arguments.output)
    changes = [change for change in changes if not change.startswith("tracking.")]
    for change in changes:
        if not change.startswith(SETTINGS):
            raise UserError(
                f"Expected settings of the importance, such as {IMPORTANCE}_repeats=10, or "
                f"dataset.path=... Received: {change}."
            )
    with console.waiting("reading the run"):
        reader = RunReader(locate(tracking))
        record = find_run(reader, arguments.run)
        importance = None if changes else read_importance(record.run_id)
    if importance is None:
        console.show(
            f"The folds of run {record.run_id} are trained again, and its scores compared."
        )
        _measure(reader, record, changes)
        importance = read_importance(record.run_id)
        assert importance
    console.show(*importance_tables(importance, MAX_FEATURES))
    if arguments.output:
        with open_output(arguments.output) as writer:
            writer.write(pa.Table.from_pandas(importance.to_table(), preserve_index=False))
        console.show_file("All features, labels and folds", arguments.output)


def _measure(reader: "RunReader", record: "RunRecord", changes: Sequence[str]) -> None:
    """Train the folds of a run again, compare their scores, and log the importance to the run.

    Raises:
        UserError: If the run is not complete, or the data or a score differ.
    """
    with heavy_imports():
        from pipeline import console
        from pipeline.comparison.reproduction import compare_scores
        from pipeline.evaluation import compute_fingerprint, load_inputs
        from pipeline.evaluation.evaluator import Evaluator
        from pipeline.report.artifacts import write_importance
        from pipeline.tracking import TrackedRun

    run_id = record.run_id
    if record.status != "FINISHED" or record.is_stopped_early:
        raise UserError(f"Expected a complete run. Received: {run_id}, {record.status}.")
    config = parse_config(compose_again(reader, record, [f"{IMPORTANCE}=true", *changes]))
    with console.waiting("reading the data"):
        inputs = load_inputs(config)
    fingerprint = compute_fingerprint(config, inputs.dataset, inputs.splits)
    for tag in SAME_DATA:
        if fingerprint[tag] != record.tags.get(tag):
            raise UserError(f"The data of run {run_id} have changed since: other {tag}.")
    evaluator = Evaluator(config, inputs.dataset, list(inputs.splits))
    with (
        console.progress_bar(evaluator.total, evaluator.unit) as advance,
        closing(evaluator.folds(advance)) as folds,
    ):
        for _ in folds:
            pass
    evaluation = evaluator.evaluation()
    for metric in evaluation.summary:
        now = np.array([fold.scores[metric] for fold in evaluation.folds])
        before = reader.fold_scores(run_id, metric, len(now))
        agreement = compare_scores(metric, before, now, test_fraction=1.0)
        if not agreement.agrees:
            raise UserError(
                f"Trained again, the folds of run {run_id} have another {metric}: "
                f"{agreement.describe()}. To see why: manyfold reproduce {run_id[:8]}"
            )
    with tempfile.TemporaryDirectory() as folder:
        write_importance(Path(folder), evaluation)
        tracked = TrackedRun(run_id)
        tracked.log_files(Path(folder))
        tracked.set_tags({MEASURED_LATER: " ".join([f"{IMPORTANCE}=true", *changes])})


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "importance",
        "Show how much the scores of a run fall when a feature is permuted among held-out rows. "
        "A run with report.importance=true has them. Of any other run, or with settings such as "
        "report.importance_repeats=10 or report.importance_groups=0.9, the folds are trained "
        "again, their scores compared with those of the run, and the result is logged to the run.",
    )
    parser.usage = "manyfold importance [-h] [-o FILE] RUN|SWEEP [key=value ...]"
    add_run_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the values of all features, labels and folds: .csv, .parquet or .jsonl",
    )
    return parser
