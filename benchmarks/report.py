"""Measure the time of figures and page, alone and as a fraction of `python -m pipeline`.

Alone: the folds of the default experiment are trained once in this process; then the files of the
run are written again and again. The first time includes what is computed once in a process; the
fastest of the others is what each further run of a sweep adds. The same is measured for random
probabilities in the shape of bibtex, 7,395 rows and 159 labels in 5 folds. As a fraction: commands
with `report=full` and `report=none` alternate on one SQLite store, in processes of their own.
Processor time is shown as well, and for the commands only that: other work on the machine affects
it less than wall time and can only increase it, so the fastest counts.

The results are in `docs/measurements.md`.
"""

import tempfile
import time
from datetime import datetime
from math import inf
from pathlib import Path

import numpy as np

from benchmarks.process import measure
from benchmarks.tutorial import compose_config
from pipeline.config.schema import Config
from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.dataset.summary import summarise
from pipeline.keras_backend import reset_keras
from pipeline.report.artifacts import write_result
from pipeline.report.run_info import RunInfo
from pipeline.runtime import heavy_imports

with heavy_imports():  # as the command does
    reset_keras()
    from pipeline.evaluation.evaluator import Evaluator
    from pipeline.evaluation.fold_results import Evaluation
    from tests.random_evaluation import make_dataset, make_evaluation

ROUNDS = 6
COMMANDS = 3
RUN = RunInfo("0" * 32, "benchmark", "benchmark", datetime.now().astimezone(), {})

Seconds = tuple[float, float]


def tutorial(config: Config) -> Evaluation:
    """Train the default experiment."""
    dataset = load(config.dataset)
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation()


def wide(config: Config) -> Evaluation:
    """Return 5 folds of 7,395 rows and 159 rare labels, with random probabilities."""
    rng = np.random.default_rng(0)
    y = rng.random((7395, 159)) < 0.03 * rng.random(159)
    return make_evaluation(config, make_dataset(y), n_folds=5, epochs=100)


def seconds_alone(evaluation: Evaluation) -> tuple[Seconds, Seconds, float]:
    """Return wall and processor seconds, first and later, and the size of the page in kB."""
    summary = summarise(evaluation.dataset)
    seconds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter(), time.process_time()
            write_result(Path(folder), evaluation, summary, RUN, has_report=True)
            ended = time.perf_counter(), time.process_time()
            seconds.append((ended[0] - started[0], ended[1] - started[1]))
            size = Path(folder, "report.html").stat().st_size / 1000
    wall, processor = zip(*seconds[1:], strict=True)
    return seconds[0], (min(wall), min(processor)), size


def seconds_of_commands() -> dict[str, float]:
    """Return the processor seconds of whole commands, with and without the report."""
    seconds = {"full": inf, "none": inf}
    with tempfile.TemporaryDirectory() as folder:
        command = ("-m", "pipeline", f"hydra.run.dir={folder}/hydra")
        store = f"tracking.uri=sqlite:///{folder}/mlflow.db"
        for _ in range(COMMANDS):
            for report, fastest in seconds.items():
                duration = measure(*command, store, f"report={report}").processor
                seconds[report] = min(fastest, duration)
    return seconds


def main() -> None:
    """Print the times."""
    config = compose_config()
    first = tutorial(config)
    print("Figures and report.html in a running process (processor time in brackets):")
    for name, evaluation in (("default", first), ("7,395 x 159", wide(config))):
        first_time, later, size = seconds_alone(evaluation)
        print(
            f"  {name:12} first {first_time[0]:5.2f} s ({first_time[1]:.2f}), later "
            f"{later[0]:5.2f} s ({later[1]:.2f}); page of {size:.0f} kB"
        )
    commands = seconds_of_commands()
    added = commands["full"] - commands["none"]
    print("Processor time of the default experiment's command:")
    print(f"  report=none {commands['none']:.2f} s, report=full {commands['full']:.2f} s")
    print(f"  the report is {added / commands['full']:.1%} of it")


if __name__ == "__main__":
    main()
