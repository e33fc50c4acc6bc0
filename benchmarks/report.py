"""Figures and page of a run: what they take alone, and what share of `python -m pipeline` it is.

Alone: the default experiment's 30 folds are trained once in this process, then drawn and written
up again and again; the first time counts what is made only once in a process, the fastest of the
others what each further run of a sweep adds. The same of random probabilities in the shape of
bibtex, 7,395 rows and 159 labels in 5 folds. As a share: whole commands with `report=full` and
`report=none` take turns on one SQLite store, as processes of their own. Processor time is shown,
too, and alone of the commands: other work on the machine changes it less than wall time, and only
ever adds, so the fastest counts.

`docs/measurements.md` has what was measured.
"""

import tempfile
import time
from datetime import datetime
from math import inf
from pathlib import Path

import numpy as np

from benchmarks.command import measure
from benchmarks.tutorial import compose_config
from pipeline.config.schema import Config
from pipeline.cv.splitters import Split, make_splits
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.loading import load
from pipeline.dataset.summary import summarise
from pipeline.decision.tuning import fixed_rule
from pipeline.report.artifacts import write_result
from pipeline.report.page import RunInfo
from pipeline.runtime import heavy_imports, import_tensorflow
from pipeline.scoring.scorer import score
from pipeline.scoring.statistics import MetricSummary

with heavy_imports():  # as the command does
    import_tensorflow()
    from pipeline.evaluation.evaluator import Evaluation, Evaluator, FoldResult

ROUNDS = 6
COMMANDS = 3
RUN = RunInfo("0" * 32, "benchmark", "benchmark", datetime.now().astimezone(), {})

Seconds = tuple[float, float]


def tutorial(config: Config) -> Evaluation:
    """Return the default experiment, trained."""
    dataset = load(config.dataset)
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation()


def wide(config: Config, like: Evaluation) -> Evaluation:
    """Return 5 folds of 7,395 rows and 159 labels, rare ones, whose probabilities are random."""
    rng = np.random.default_rng(0)
    n, n_labels = 7395, 159
    y = (rng.random((n, n_labels)) < 0.03 * rng.random(n_labels)).astype(np.int8)
    names = tuple(f"label{i}" for i in range(n_labels))
    dataset = Dataset("wide", np.arange(n, dtype=np.float32)[:, None], y, ("x",), names)
    folds = []
    for place, test in enumerate(np.array_split(rng.permutation(n), 5)):
        y_score = (rng.random((len(test), n_labels)) ** 4 * (0.3 + y[test]) / 1.3).astype("float32")
        rule = fixed_rule(config.decision, n_labels)
        y_pred = rule.decide(y_score)
        scores = score(config.scoring, y[test], y_score, y_pred)
        losses = 1 / np.arange(1.0, 101.0)
        folds.append(
            FoldResult(
                split=Split(0, place, np.setdiff1d(np.arange(n), test), test),
                y_score=y_score,
                y_pred=y_pred,
                rule=rule,
                scores=scores.values,
                n_undefined_labels=scores.n_undefined_labels,
                loss=losses,
                val_loss=losses[:0],
                test_loss=losses,
                seconds=0.0,
            )
        )
    summary = {name: MetricSummary(0.5, 0.1, (0.4, 0.6), 5) for name in folds[0].scores}
    return Evaluation(config, dataset, tuple(folds), summary, like.final)


def seconds_alone(evaluation: Evaluation) -> tuple[Seconds, Seconds, float]:
    """Return wall and processor seconds of the first time and of the others, and the page's kB."""
    summary = summarise(evaluation.dataset)
    seconds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter(), time.process_time()
            write_result(Path(folder), evaluation, summary, RUN)
            ended = time.perf_counter(), time.process_time()
            seconds.append((ended[0] - began[0], ended[1] - began[1]))
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
            for report, least in seconds.items():
                spent = measure(*command, store, f"report={report}").processor
                seconds[report] = min(least, spent)
    return seconds


def main() -> None:
    config = compose_config()
    first = tutorial(config)
    print("Figures and report.html, in a process under way (processor time in brackets):")
    for name, evaluation in (("default", first), ("7,395 x 159", wide(config, first))):
        once, again, size = seconds_alone(evaluation)
        print(
            f"  {name:12} first {once[0]:5.2f} s ({once[1]:.2f}), again {again[0]:5.2f} s "
            f"({again[1]:.2f}); page of {size:.0f} kB"
        )
    commands = seconds_of_commands()
    added = commands["full"] - commands["none"]
    print("Processor time of the default experiment's command:")
    print(f"  report=none {commands['none']:.2f} s, report=full {commands['full']:.2f} s")
    print(f"  the report is {added / commands['full']:.1%} of it")


if __name__ == "__main__":
    main()
