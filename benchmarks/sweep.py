"""Sweeps against single runs: what one process shares among its jobs, and what two processes bring.

Shared: 24 configurations of the default experiment (4 learning rates x 6 seeds) against single
commands, which run before and after on the same SQLite store; their median counts. Allowed are 3
times one run and 1.5 s for each configuration; the seconds allowed are those of a machine on which
the plain Keras loop of `benchmarks/training.py` takes some 160 s, so a slower one needs more.

Two processes: configurations whose jobs take over 20 s each, under the basic launcher, whose jobs
train in two threads, then under joblib with two workers of one thread each.
4 learning rates x 2 seeds, or x 6 as above where time is no matter: `python -m benchmarks.sweep 6`.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.command import measure

RATES = "training.learning_rate=0.0003,0.001,0.003,0.01"
LONG = (
    *("dataset.n_samples=4000", "dataset.n_features=100", "dataset.predict_rows=[]"),
    *("cv.n_repeats=2", "cv.n_splits=5", "model.hidden_units=[256,128]"),
)
LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
}


def seconds_of(folder: Path, *arguments: str) -> float:
    """Return how long the command took, in a store of its own."""
    places = [f"tracking.uri=sqlite:///{folder}/mlflow.db"]
    places += [f"hydra.{mode}.dir={folder}/hydra" for mode in ("run", "sweep")]
    return measure("-m", "pipeline", *arguments, *places).seconds


def main() -> None:
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds_of(folder)  # makes the store
        alone = [seconds_of(folder)]
        swept = seconds_of(folder, "--multirun", RATES, "seed=range(1,7)")
        alone.append(seconds_of(folder))
        one = median(alone)
        allowed = 3 * one + 24 * 1.5
        print(f"One run {one:.1f} s; a sweep of 24 {swept:.1f} s, allowed {allowed:.1f} s")
        print(f"  {(swept - one) / 23:.2f} s for each configuration after the first", flush=True)
        sweep = ("--multirun", RATES, f"seed=range(1,{n_seeds + 1})", *LONG)
        took = {name: seconds_of(folder, *sweep, *chosen) for name, chosen in LAUNCHERS.items()}
        n_jobs = 4 * n_seeds
        print(f"{n_jobs} jobs of {took['basic'] / n_jobs:.0f} s each, one after another:")
        for launcher, seconds in took.items():
            print(f"  {launcher:8s}{seconds:8.1f} s  {took['basic'] / seconds:.2f} times as fast")


if __name__ == "__main__":
    main()
