"""Review the labels of a data set by the held-out predictions of a run."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import add_run_argument, make_command_parser, parse, run
from pipeline.config import PythonDatasetConfig, TrackingConfig, parse_config, recompose
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.tracking import RunReader, RunRecord


def main(argv: Sequence[str]) -> int:
    """Review the labels by the run that the arguments name and return the exit code."""
    return run(lambda: _review(*parse(make_parser(), argv)))


def _review(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.console.review_tables import MAX_CELLS, review_tables
        from pipeline.prediction.output_files import check_output, open_output
        from pipeline.scoring.label_review import review_labels, to_table
        from pipeline.tracking import RunReader, locate, read_held_out
        from pipeline.tracking.final_models import find_run

    check_output(arguments.output)
    with console.waiting("reading the run"):
        reader = RunReader(locate(tracking))
        record = find_run(reader, arguments.run)
        predictions = read_held_out(record.run_id)
    with console.waiting("reviewing the labels"):
        review = review_labels(predictions, None if arguments.output else MAX_CELLS)
    console.show(*review_tables(review, predictions))
    if arguments.output:
        with console.waiting("reading the features"):
            dataset, reason = _load_dataset(reader, record)
        if reason:
            console.show(f"The file has no features: {reason}")
        table = to_table(review, predictions, dataset)
        with open_output(arguments.output) as writer:
            writer.write(table)
        console.show_file(f"All {table.num_rows:,} lines of the review", arguments.output)


def _load_dataset(reader: "RunReader", record: "RunRecord") -> "tuple[Dataset | None, str]":
    """Load the data set of a run, or return the reason why it is not available."""
    from pipeline.dataset import load

    config = parse_config(recompose(reader.read_text(record.run_id, "config.yaml"), ()))
    if isinstance(config.dataset, PythonDatasetConfig):
        return None, "the data set was made by Python code, which is not run for a review."
    try:
        dataset = load(config.dataset)
    except UserError as error:
        return None, str(error)
    if dataset.digest != record.tags.get("data_digest"):
        return None, "the data set has changed since the run."
    return dataset, ""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "review",
        "Find labels that are likely wrong, rows that are hard to predict, and labels that are "
        "confused, from the held-out predictions of a run.",
    )
    add_run_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write wrong labels, hard and unlabelled rows and confused labels (column `kind`), "
        "with ids and features: .csv, .parquet or .jsonl",
    )
    return parser
