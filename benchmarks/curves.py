"""Manyfold's time and memory against the size of the work, one quantity at a time.

Each point is a process of its own: the first training with an empty cache of compiled programs,
then trainings of the compiled programs, of which the median counts.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import Say, cache_variables
from benchmarks.process import ContestantError, Worker, measure
from benchmarks.works import WORKS, Work

BASE = Work("base", 10_000, 50, (64,), 10, 128, 3, 10)
VALUES: dict[str, tuple[int, ...]] = {
    "rows": (1_000, 10_000, 100_000),
    "features": (5, 50, 500),
    "labels": (1, 10, 100, 1_000),
    "folds": (3, 10, 30, 100),
    "hidden units": (16, 64, 256, 1_024),
    "threads": (1, 2, 4),
}
STACKED = ("tutorial", "yeast", "medium")
STACK_SIZES = (1, 2, 5, 10)
ROUNDS = 3
Result = dict[str, Any]


def make_work(quantity: str, value: int) -> Work:
    """Return the base work with one quantity changed."""
    changes: dict[str, dict[str, Any]] = {
        "rows": {"n_samples": value},
        "features": {"n_features": value},
        "labels": {"n_labels": value},
        "folds": {"n_splits": value},
        "hidden units": {"hidden_units": (value,)},
        "threads": {},
    }
    return replace(BASE, **changes[quantity])


def run_curves(say: Say, *, n_points: int | None = None) -> Result:
    """Return the points of each curve."""
    points: dict[str, list[Result]] = {}
    for quantity, values in VALUES.items():
        points[quantity] = []
        for value in values[:n_points]:
            say(f"curves: {value:,} {quantity}")
            settings = (f"training.n_threads={value}",) if quantity == "threads" else ()
            measured = _train(make_work(quantity, value), settings)
            points[quantity].append({"value": value, **measured})
    return {"base": str(BASE), "points": points}


def run_stacks(say: Say, *, rounds: int = ROUNDS) -> Result:
    """Return the time of some works by the number of fits in a compiled program."""
    works = {}
    for name in STACKED:
        work = WORKS[name]
        automatic = _train(work, ("training.n_threads=2",), rounds=1)["fits_at_once"] // 2
        points = []
        for size in sorted({*STACK_SIZES, automatic}):
            say(f"stacks: {name}, {size} fits in a program")
            settings = (f"training.fits_per_program={size}", "training.n_threads=2")
            points.append({"value": size, **_train(work, settings, rounds=rounds)})
        works[name] = {"title": str(work), "automatic": automatic, "points": points}
    return {"works": works}


def _train(work: Work, settings: tuple[str, ...], rounds: int = ROUNDS) -> Result:
    """Train in a new process; return the times and the peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        measure("-m", "benchmarks.works", work.to_json(), folder)
        try:
            worker = Worker("manyfold", work, Path(folder), settings, cache_variables(folder))
            fits = range(work.n_fits)
            first = worker.train(fits, prepare=True)
            later = median(worker.train(fits)["seconds"] for _ in range(rounds))
            worker.close()
        except ContestantError as error:
            return {"error": str(error)}
    return {
        "first": first["seconds"],
        "later": later,
        "memory": first["memory"],
        "fits_at_once": first["fits_at_once"],
    }
