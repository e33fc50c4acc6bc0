"""Time of a sweep in one process and in two.

Jobs of more than 20 s each with the basic launcher, whose jobs train in two threads, and with
joblib, which has two workers of one thread each. There are 4 learning rates x 2 seeds;
`python -m benchmarks.sweep 6` takes 6 seeds. `python -m benchmarks` times many short jobs.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.process import measure

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
    """Return the time of a command that uses the store of a folder."""
    locations = [f"tracking.uri=sqlite:///{folder}/mlflow.db"]
    locations += [f"hydra.{mode}.dir={folder}/hydra" for mode in ("run", "sweep")]
    return measure("-m", "pipeline", *arguments, *locations).seconds


def main() -> None:
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds_of(folder, "cv.n_splits=2", "training.epochs=1")  # creates the store
        sweep = ("--multirun", RATES, f"seed=range(1,{n_seeds + 1})", *LONG)
        seconds_by_launcher = {
            name: seconds_of(folder, *sweep, *options) for name, options in LAUNCHERS.items()
        }
        n_jobs, basic = 4 * n_seeds, seconds_by_launcher["basic"]
        print(f"{n_jobs} jobs of {basic / n_jobs:.0f} s each:")
        for launcher, seconds in seconds_by_launcher.items():
            print(f"  {launcher:8s}{seconds:8.1f} s  {basic / seconds:.2f} times as fast")


if __name__ == "__main__":
    main()
