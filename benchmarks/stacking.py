"""Seconds per fold and epoch by stack size, for three workloads, in two threads.

20 fits on random data, so that stacks of 1, 2, 5 and 10 all keep both threads busy to the end;
Adam; compilation is not counted, scoring of the test rows after each epoch is. The sizes take
turns, and the faster of 2 rounds counts. An arrow marks the size that `plan_stacks` chooses.

Measured on 2 shared cores: the small workload is fastest in stacks of 10, 1.6 times as fast as one
by one; the large one in stacks of 1 or 2, twice as fast as in stacks of 10. For the workload
between, runs disagree: either all sizes are equal, or stacks of 5 are up to 1.6 times as fast as
one by one. 20 fits in stacks of 4 are 5 stacks: one thread idles while the last one trains.
"""

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.tutorial import compose_config
from pipeline.config.schema import TrainingConfig
from pipeline.model.keras_models import mlp
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.training.base import FitSpec
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.stack_plan import plan_stacks

SIZES = (1, 2, 5, 10)
N_FITS = 20
N_THREADS = 2
ROUNDS = 2


class Workload(NamedTuple):
    """A table, a model and a number of epochs."""

    n_samples: int
    n_features: int
    hidden_units: tuple[int, ...]
    n_labels: int
    batch_size: int
    epochs: int

    def __str__(self) -> str:
        """Format the heading."""
        layers = ",".join(map(str, self.hidden_units))
        table = f"{self.n_samples} x {self.n_features}"
        return f"{table} -> {layers} -> {self.n_labels}, batch {self.batch_size}"


WORKLOADS = (
    Workload(1_000, 10, (20,), 3, 32, 200),
    Workload(2_417, 103, (256, 128), 14, 32, 10),
    Workload(20_000, 500, (512,), 50, 256, 1),
)


def seconds_per_epoch(workload: Workload, config: TrainingConfig) -> float:
    """Train all fits and return seconds per fit and epoch, without compilation."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(workload.n_samples, workload.n_features)).astype(np.float32)
    y = (rng.random((workload.n_samples, workload.n_labels)) < 0.3).astype(np.int8)
    schema = TableSchema.of_numbers(f"x{j}" for j in range(workload.n_features))
    (preprocessor,) = fit_preprocessors(
        compose_config().preprocessing, X, schema, [np.arange(workload.n_samples)]
    )
    folds = np.arange(workload.n_samples) % 10
    fits = [
        FitSpec(
            fit, np.flatnonzero(folds != fit % 10), np.flatnonzero(folds == fit % 10), preprocessor
        )
        for fit in range(N_FITS)
    ]
    build = partial(mlp, n_labels=workload.n_labels, hidden_units=workload.hidden_units)
    trainer = KerasTrainer(build, config, X, y, fits)
    trainer.compile()
    began = time.perf_counter()
    list(trainer.train())
    return (time.perf_counter() - began) / (N_FITS * workload.epochs)


def planned_size(workload: Workload) -> int:
    """Return the stack size that `plan_stacks` chooses."""
    n_weights = mlp(
        workload.n_features, workload.n_labels, hidden_units=workload.hidden_units
    ).count_params()
    n_state = 3 * n_weights + 2  # Adam: two moments per weight, iterations and learning rate
    n_train = workload.n_samples * 9 // 10
    return plan_stacks(
        N_FITS, n_train, workload.batch_size, n_weights, n_state, workload.epochs, None, N_THREADS
    ).fits_per_program


def main() -> None:
    training = compose_config().training
    for workload in WORKLOADS:
        config = replace(
            training, epochs=workload.epochs, batch_size=workload.batch_size, n_threads=N_THREADS
        )
        planned = planned_size(workload)
        sizes = sorted({*SIZES, planned})
        seconds = {size: float("inf") for size in sizes}
        for _ in range(ROUNDS):
            for size in sizes:
                elapsed = seconds_per_epoch(workload, replace(config, fits_per_program=size))
                seconds[size] = min(seconds[size], elapsed)
        best = min(seconds.values())
        print(f"{workload}:")
        for size, elapsed in seconds.items():
            arrow = "  <- automatic" if size == planned else ""
            print(f"  stack of {size:2}  {1000 * elapsed:8.3f} ms  {elapsed / best:5.2f}{arrow}")


if __name__ == "__main__":
    main()
