"""Show the leaderboard of a sweep again."""

import argparse
from collections.abc import Sequence

from pipeline.command_line import make_command_parser, parse, run
from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports


def main(argv: Sequence[str]) -> int:
    """Show the leaderboard of the named sweep and return the exit code."""
    return run(lambda: _show(*parse(make_parser(), argv)))


def _show(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        from pipeline import console
        from pipeline.comparison import (
            Criterion,
            estimate_best_job,
            read_leaderboard,
            score_nested,
        )
        from pipeline.console.leaderboard_tables import (
            describe_estimate,
            describe_nested,
            leaderboard_tables,
        )
        from pipeline.tracking import CRITERION, RunReader, find_sweep, locate

    with console.waiting("reading the sweep"):
        record = RunReader(locate(tracking)).one(arguments.sweep)
        if not record.is_sweep:
            raise UserError(
                f"Expected a sweep, made with --multirun. Received: {record.name!r} "
                f"({record.run_id}), a single run. To see a run: manyfold ui {record.run_id}"
            )
        sweep = find_sweep(record.run_id)
        tag = record.tags.get(CRITERION)  # of a search
        board = read_leaderboard(sweep, Criterion.from_tag(tag) if tag else None)
        estimate, nested = estimate_best_job(board), score_nested(board)
    console.show(*leaderboard_tables(board, by_job=arguments.seeds))
    console.show(*describe_estimate(estimate), *describe_nested(nested))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "leaderboard",
        "Show the leaderboard of a sweep, and what its best configuration may be expected to score "
        "on new rows. Jobs that differ only in their seed are one configuration.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help="name or id of a sweep, or the id's start")
    parser.add_argument("--seeds", action="store_true", help="list every seed by itself")
    return parser
