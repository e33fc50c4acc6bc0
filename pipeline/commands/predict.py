"""Predict a file of raw rows with a final model."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipeline.command_line import (
    add_model_argument,
    add_threshold_arguments,
    make_command_parser,
    parse,
    run,
)
from pipeline.config import TrackingConfig
from pipeline.runtime import heavy_imports

FORMATS = ("csv", "tsv", "jsonl", "parquet", "feather", "excel", "arff", "svmlight")


def main(argv: Sequence[str]) -> int:
    """Predict the rows that the arguments name and return the exit code."""
    return run(lambda: _predict(*parse(make_parser(), argv)))


def _predict(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline.console.row_progress import row_progress, show_note, show_scores
        from pipeline.named_model import open_named_model
        from pipeline.prediction import (
            Answer,
            BadRows,
            Labels,
            check_output,
            open_output,
            open_rows,
            predict_file,
            score_predictions,
        )

    check_output(arguments.output)
    with open_named_model(arguments, tracking) as named:
        folder, model = named.folder, named.folder.model
        reading = reading_options(arguments, folder.reading)
        file = open_rows(arguments.rows, arguments.format, model, reading)
        own_id = reading.get("id_column")
        ids = [own_id, *arguments.id] if own_id in file.names else arguments.id
        answer = Answer(_answer_kind(arguments), named.thresholds, tuple(dict.fromkeys(ids)))
        labels = Labels.from_reading(reading)
        bad_path = bad_rows_path(arguments.rows, arguments.output)
        bad_rows = BadRows(bad_path) if arguments.skip_bad else None
        with (
            bad_rows or nullcontext(),
            open_output(arguments.output) as writer,
            row_progress() as progress,
        ):
            done = predict_file(
                model,
                file,
                writer,
                answer,
                on_bad=bad_rows.add if bad_rows else None,
                labels=labels if arguments.scores else None,
                progress=progress,
            )
    if bad_rows and bad_rows.n:
        show_note(f"Left out {bad_rows.n:,} bad rows, see {bad_rows.path}")
    if done.unscored:
        show_note(f"No scores, as the labels cannot be used: {done.unscored}")
    elif done.y_true:
        scores, skipped = score_predictions(folder, done, named.thresholds, arguments.trust_code)
        show_scores(scores, to_stderr=arguments.output is None)
        if skipped:
            show_note(f"Not computed without --trust-code: {', '.join(skipped)}")


def reading_options(arguments: argparse.Namespace, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Return how to read the rows: as the training file, unless an option says otherwise."""
    options = {name: getattr(arguments, name) for name in ("separator", "encoding")}
    return {**trained, **{name: value for name, value in options.items() if value is not None}}


def _answer_kind(arguments: argparse.Namespace) -> Any:
    if arguments.labels:
        return "labels"
    is_decided = arguments.decide or arguments.threshold or arguments.threshold_metric
    return "decisions" if is_decided else "probabilities"


def bad_rows_path(rows: str, output: Path | None = None) -> Path:
    """Return the path of the bad rows: beside the output, else in the working directory."""
    if output:
        return output.with_name(f"{output.stem}.bad.jsonl")
    stem = "stdin" if rows == "-" else Path(rows).name.partition(".")[0]
    return Path(f"{stem}.bad.jsonl")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "predict",
        "Predict rows with a final model: probabilities, decisions or label names. If the rows "
        "have the labels too, the scores on them are printed.",
    )
    add_model_argument(parser)
    add_threshold_arguments(parser)
    add_row_arguments(parser)
    add = parser.add_argument
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write to this .csv, .parquet or .jsonl file (default: CSV to the standard output)",
    )
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument("--decide", action="store_true", help="predict 0 or 1 for each label")
    answers.add_argument(
        "--labels", action="store_true", help="predict one column, the list of label names"
    )
    add(
        "--id",
        action="append",
        default=[],
        metavar="COLUMN",
        help="copy this column too, beside the id column of the training file (repeatable)",
    )
    add("--no-scores", dest="scores", action="store_false", help="do not look for labels")
    return parser


def add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a file of rows and say how to read it."""
    add = parser.add_argument
    add(
        "rows",
        metavar="ROWS",
        help="CSV, TSV, JSON lines (also .gz), Parquet, Feather, Excel, ARFF or svmlight file, "
        "also as the one table in a zip archive; - for CSV from the standard input",
    )
    add(
        "--skip-bad",
        action="store_true",
        help="write rows that cannot be read to a file *.bad.jsonl, and take the others",
    )
    add("--format", choices=FORMATS, help="format of the rows (default: by the ending)")
    add("--separator", help="separator of a CSV file (default: as in the training file)")
    add("--encoding", help="encoding of a CSV file (default: as in the training file)")
