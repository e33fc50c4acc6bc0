"""Draw the figures and the page of a finished run."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.command_line import add_run_argument, make_command_parser, parse, run
from pipeline.config import TrackingConfig
from pipeline.runtime import heavy_imports, write_atomically


def main(argv: Sequence[str]) -> int:
    """Draw the report of the run that the arguments name and return the exit code."""
    return run(lambda: _report(*parse(make_parser(), argv)))


def _report(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.report.artifacts import PAGE
        from pipeline.stored_report import draw_report, log_report
        from pipeline.tracking import RunReader, locate
        from pipeline.tracking.final_models import find_run

    store = locate(tracking)
    with console.waiting("reading the run"):
        reader = RunReader(store)
        record = find_run(reader, arguments.run)
    with console.waiting("drawing the figures"):
        if arguments.output is None:
            log_report(reader, record)
        else:
            with TemporaryDirectory() as folder:
                draw_report(reader, record, Path(folder))
                page = (Path(folder) / PAGE).read_text(encoding="utf-8")
    if arguments.output is None:
        console.show(f"Logged the figures and {PAGE} of run {record.run_id}. Open its page:")
        console.show(f"  {console.run_command('ui', record.run_id[:8], store)}")
        return
    write_atomically(arguments.output, lambda path: path.write_text(page, encoding="utf-8"))
    console.show_file("The page, with its figures", arguments.output)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "report",
        "Draw the figures and the page report.html of a finished run from its stored predictions, "
        "such as of a job of a sweep that has none, and log them to the run.",
    )
    add_run_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the page to this file instead",
    )
    return parser
