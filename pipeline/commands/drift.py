"""Compare new rows with the training rows of a final model."""

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pipeline.command_line import (
    add_model_argument,
    between_zero_and_one,
    make_command_parser,
    parse,
    run,
)
from pipeline.commands.predict import add_row_arguments, bad_rows_path, reading_options
from pipeline.config import TrackingConfig
from pipeline.errors import UserError, suggest
from pipeline.runtime import heavy_imports, write_atomically

DRIFT = 3  # exit code if there is drift


def main(argv: Sequence[str]) -> int:
    """Compare the rows that the arguments name and return the exit code."""
    return run(lambda: _drift(*parse(make_parser(), argv)))


def _drift(arguments: argparse.Namespace, tracking: TrackingConfig) -> int:
    with heavy_imports():
        from pipeline import console
        from pipeline.console.drift_tables import drift_tables
        from pipeline.console.row_progress import row_progress, show_note
        from pipeline.named_model import open_named_model
        from pipeline.prediction import BadRows, check_columns, encode_rows, open_rows
        from pipeline.prediction.drift import measure_drift
        from pipeline.prediction.row_counts import RowCounts

    with open_named_model(arguments, tracking) as named:
        folder, model = named.folder, named.folder.model
        if not folder.training:
            raise UserError(
                f"{arguments.model}: expected a model that carries ranges and counts of its "
                "training rows. Received: one that an earlier version of Manyfold logged. Train it "
                "again."
            )
        for name in arguments.ignore:
            if name not in model.schema.names:
                raise UserError(
                    f"--ignore: no feature {name!r}. {suggest(name, model.schema.names)}"
                )
        reading = reading_options(arguments, folder.reading)
        file = open_rows(arguments.rows, arguments.format, model, reading)
        check_columns(model, file)
        counts = RowCounts(model, folder.training, frozenset(arguments.ignore))
        bad_rows = BadRows(bad_rows_path(arguments.rows)) if arguments.skip_bad else None
        with bad_rows or nullcontext(), row_progress() as progress:
            on_bad = bad_rows.add if bad_rows else None
            for X, batch in encode_rows(model, file, model.schema.names, on_bad, may_miss=True):
                counts.add(X, batch.table, named.thresholds)
                progress(counts.n_rows, file.fraction_read())
        if not counts.n_rows:
            raise UserError(f"{arguments.rows}: expected rows to compare. Received: none.")
        drift = measure_drift(counts, folder.training, model.label_names, arguments.alpha)
    console.show(*drift_tables(drift))
    n_bad = bad_rows.n if bad_rows else 0
    if bad_rows and n_bad:
        show_note(f"Left out {n_bad:,} bad rows, see {bad_rows.path}")
    if arguments.json:
        content = json.dumps({**drift.as_dict(), "n_bad_rows": n_bad}, indent=1, allow_nan=False)
        write_atomically(arguments.json, lambda path: path.write_text(f"{content}\n", "utf-8"))
        console.show_file("Numbers", arguments.json)
    return DRIFT if drift.has_drift else 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "drift",
        "Compare new rows with the training rows of a final model: the values of each feature, "
        "missing values, values outside of the training range, unseen categories, and how often "
        "each label is predicted.",
        "Exit code 3: there is drift.",
    )
    add_model_argument(parser)
    add_row_arguments(parser)
    add = parser.add_argument
    add(
        "--alpha",
        type=between_zero_and_one,
        default=0.01,
        help="accepted rate of false findings among all findings (default: 0.01)",
    )
    add(
        "--ignore",
        action="append",
        default=[],
        metavar="COLUMN",
        help="leave out a feature that is expected to change, such as a date (repeatable)",
    )
    add("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    parser.set_defaults(threshold=[], threshold_metric=None)
    return parser
