"""Repeat a run from what it logged, and compare the scores."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.command_line import SETTINGS, add_run_argument, make_command_parser, parse, run
from pipeline.config import TrackingConfig, affects_scores, recompose, restore_path
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.tracking import RunReader, RunRecord

DIFFERENT = 1  # exit code if a score does not agree
REPRODUCES = "reproduces"  # tag: id of the run that a run repeats
SAME_DATA = ("data_digest", "split_digest")


def main(argv: Sequence[str]) -> int:
    """Repeat the run that the arguments name and return the exit code."""
    others, changes = separate(argv)
    return run(lambda: _reproduce(*parse(make_parser(), others), changes))


def separate(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the run with the settings of the store, and all settings of the repetition."""
    changes = [word for word in argv[1:] if "=" in word and not word.startswith("--")]
    return [word for word in argv if word not in changes or word.startswith(SETTINGS)], changes


def _reproduce(
    arguments: argparse.Namespace, tracking: TrackingConfig, changes: Sequence[str]
) -> int:
    with heavy_imports():
        from pipeline import console
        from pipeline.comparison import NO_TEST
        from pipeline.comparison.reproduction import compare_runs, find_causes
        from pipeline.console.agreement_tables import agreement_table, difference_table
        from pipeline.job import run_job
        from pipeline.tracking import RunReader, TrackedRun, locate
        from pipeline.tracking.final_models import find_run

    store = locate(tracking)
    with console.waiting("reading the run"):
        reader = RunReader(store)
        before = find_run(reader, arguments.run)
        if before.status != "FINISHED":
            raise UserError(f"Expected a finished run. Received: {before.run_id}, {before.status}.")
        composed = compose_again(reader, before, changes)
    composed.tracking.uri = tracking.uri or store.uri
    result = run_job(composed)
    TrackedRun(result.run_id).set_tags({REPRODUCES: before.run_id})
    reader = RunReader(store)  # the experiment may be new
    now = reader.one(result.run_id)
    rows = compare_runs(reader, before, now)
    is_paired = all(before.tags.get(tag) == now.tags[tag] for tag in SAME_DATA)
    has_windows = before.params.get("cv.kind") == "time_series"
    effective = [change for change in changes if _can_differ(change)]
    if effective:
        console.show(
            f"\nWith {' '.join(effective)}, compared with run {before.run_id}:",
            difference_table(rows, is_paired and not has_windows),
        )
        if not is_paired:
            console.show("The data or the folds differ, so there is no interval.")
        elif has_windows:
            console.show(NO_TEST)
        return 0
    agrees = is_paired and all(row.agrees for row in rows)
    console.show(f"\nCompared with run {before.run_id}:", agreement_table(rows))
    if agrees:
        console.show("Reproduced: all scores agree.")
        return 0
    causes = find_causes(before, now) or ["nothing that the runs logged"]
    console.show("Not reproduced. What differs:", *(f"  {cause}" for cause in causes))
    return DIFFERENT


def compose_again(reader: "RunReader", record: "RunRecord", changes: Sequence[str]) -> "DictConfig":
    """Return the configuration of a run with changes, and the path that its data had."""
    composed = recompose(reader.read_text(record.run_id, "config.yaml"), changes)
    restore_path(composed, reader.dataset_path(record.run_id))
    if not any(change.startswith("tracking.run_name=") for change in changes):
        composed.tracking.run_name = f"{record.name}, reproduced"
    composed.tracking.parent_run_id = None
    composed.resume = False
    return composed


def _can_differ(change: str) -> bool:
    """Return whether a change may change the scores; the data may lie elsewhere."""
    key, _, value = change.lstrip("+").partition("=")
    return key != "dataset.path" and affects_scores(key, value)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "reproduce",
        "Run the logged configuration of a run again and compare each score. The repetition is a "
        "run of its own in the same store. With changed settings, such as seed=2, model=logistic "
        "or dataset.path=..., it shows the differences with their intervals.",
        "Exit code 1: a score does not agree.",
    )
    parser.usage = "manyfold reproduce [-h] RUN|SWEEP [key=value ...]"
    add_run_argument(parser)
    return parser
