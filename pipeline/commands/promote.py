"""Register the final model of a run and give it the alias `champion`."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.runtime import heavy_imports


def main(words: Sequence[str]) -> NoReturn:
    """Promote the run that the command line names."""
    arguments = make_parser().parse_args(words)
    with heavy_imports():
        from pipeline.job import attempt
    sys.exit(attempt(lambda: _promote(arguments)).exit_code)


def _promote(arguments: argparse.Namespace) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.tracking import store_at
        from pipeline.tracking.logged_model import promote

    promoted = promote(store_at(arguments.tracking_uri), arguments.run, arguments.name)
    console.show(
        f"{promoted.name} version {promoted.version}, of run {promoted.run_id}, is now the "
        "champion; load it with",
        f'  mlflow.pyfunc.load_model("{promoted.uri}")',
    )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="manyfold promote",
        description="Registers a run's final model in MLflow and calls it the champion.",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        help="name or id of a run, the start of its id, or a sweep: its best run",
    )
    parser.add_argument("--name", help="of the registered model; else that of the data set")
    parser.add_argument("--tracking-uri", metavar="URI", help="the MLflow store, if not the usual")
    return parser
