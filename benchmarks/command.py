"""Whole commands: one run, a sweep in one process, a tall table and a wide sparse one twice.

Wall time from start to exit, and the peak of resident memory that the kernel reports. Each command
uses a store and a cache of compiled programs of its own, in a temporary folder.
"""

import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import Say, cache_variables
from benchmarks.process import Cost, measure
from benchmarks.works import WORKS

ROUNDS = 3
IMPORT = ("-c", "import tensorflow, mlflow")
RATES = "training.learning_rate=0.0003,0.001,0.003,0.01"
N_SEEDS = 6  # with each of four learning rates: 24 configurations
TALL = (
    *("dataset=npz", "model.hidden_units=[64]", "training.batch_size=1024", "training.epochs=10"),
    *("training.early_stopping.patience=2", "cv.n_splits=3", "cv.n_repeats=1"),
)
WIDE = (
    *("dataset=svmlight", "model.hidden_units=[512]", "training.epochs=5", "cv.n_splits=3"),
    "cv.n_repeats=1",
)
WIDE_256 = (*WIDE, "training.batch_size=256")  # an eighth of the steps, each over all weights
Result = dict[str, Any]


def run_command(folder: Path, *arguments: str) -> Cost:
    """Run `python -m pipeline` with the store and the cache of a folder."""
    locations = [f"tracking.uri=sqlite:///{folder}/mlflow.db"]
    locations += [f"hydra.{mode}.dir={folder}/hydra" for mode in ("run", "sweep")]
    return measure(
        "-m", "pipeline", *arguments, *locations, environment=cache_variables(str(folder))
    )


def _numbers(costs: list[Cost]) -> Result:
    return {
        "seconds": [cost.seconds for cost in costs],
        "memory": max(cost.megabytes for cost in costs),
        "processor": median(cost.processor for cost in costs),
    }


def run_commands(say: Say, *, rounds: int = ROUNDS) -> Result:
    """Time the default experiment: its first run, later runs, and the bare imports, in turn."""
    measure(*IMPORT)  # not counted: it fills the file cache
    costs: dict[str, list[Cost]] = {"import": [], "first": [], "later": []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            say(f"command: round {number + 1} of {rounds}")
            folder = Path(name, str(number))
            folder.mkdir()
            costs["import"].append(measure(*IMPORT))
            costs["first"].append(run_command(folder))
            costs["later"].append(run_command(folder))
    return {key: _numbers(those) for key, those in costs.items()}


def run_sweep(say: Say, *, n_seeds: int = N_SEEDS) -> Result:
    """Time configurations of the default experiment in one process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("sweep: a single run, which creates the store")
        run_command(folder)
        say(f"sweep: {4 * n_seeds} configurations in one process")
        cost = run_command(folder, "--multirun", RATES, f"seed=range(1,{n_seeds + 1})")
        ends = _ends_of_jobs(folder / "mlflow.db")
        return {
            **_numbers([cost]),
            "jobs": [later - earlier for earlier, later in pairwise(ends)],
            "training": _training_seconds(folder),
        }


def _ends_of_jobs(database: Path) -> list[float]:
    """Return when each job of the sweep ended, in seconds, in their order."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT end_time FROM runs JOIN tags USING (run_uuid) WHERE key = 'sweep_job' "
            "ORDER BY end_time"
        ).fetchall()
    return [milliseconds / 1000 for (milliseconds,) in rows]


def _training_seconds(folder: Path) -> list[float]:
    """Return the seconds of all folds of each run, as the runs themselves report them."""
    seconds = []
    for path in folder.rglob("folds.json"):
        table = json.loads(path.read_text())
        column = table["columns"].index("seconds")
        seconds.append(sum(row[column] for row in table["data"]))
    return seconds


def run_tall(say: Say) -> Result:
    """Time the command on 1,000,000 rows with early stopping."""
    return _run_on_file(say, "tall", "npz", TALL)


def run_wide(say: Say) -> Result:
    """Time the command on 5,000 sparse features and 1,000 labels, in batches of 32 rows."""
    return _run_on_file(say, "wide", "svm", WIDE)


def run_wide_256(say: Say) -> Result:
    """Time the same command in batches of 256 rows."""
    return _run_on_file(say, "wide", "svm", WIDE_256)


def _run_on_file(say: Say, name: str, suffix: str, settings: tuple[str, ...]) -> Result:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / f"table.{suffix}"
        say(f"{name}_command: writing the table")
        measure("-m", "benchmarks.works", WORKS[name].to_json(), str(folder), str(path))
        costs = []
        for title in ("first run", "second run"):
            say(f"{name}_command: {title}")
            costs.append(run_command(folder, *settings, f"dataset.path={path}"))
    return {"command": " ".join([*settings, f"dataset.path={path.name}"]), **_numbers(costs)}


PIECES: dict[str, Callable[[Say], Result]] = {
    "command": run_commands,
    "sweep": run_sweep,
    "tall_command": run_tall,
    "wide_command": run_wide,
    "wide_command_256": run_wide_256,
}
