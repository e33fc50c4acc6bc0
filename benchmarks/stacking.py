"""Seconds per fold and epoch by stack size, for three sizes of work, in two threads.

20 fits on random data, so that stacks of 1, 2, 5 and 10 all keep both threads busy to the end;
Adam; compiling is not counted. Scoring of the test rows after each epoch is. The sizes take turns,
and the faster of 2 rounds counts. An arrow marks what `plan_stacks` chooses.

Measured on 2 cores that other work shared: the small work is fastest in stacks of 10, 1.6 times as
fast as one by one; the large one by one or in twos, twice as fast as in stacks of 10. For the work
between, runs disagree: all sizes alike, or stacks of 5 up to 1.6 times as fast as one by one. 20
fits in stacks of 4 are 5 stacks: one thread idles while the last is trained.
"""

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.tutorial import compose_config
from pipeline.config.schema import TrainingConfig
from pipeline.model.keras_models import mlp
from pipeline.preprocessing.preprocessor import fit_preprocessor
from pipeline.training.base import FitSpec
from pipeline.training.keras_trainer import KerasTrainer
from pipeline.training.stack_plan import plan_stacks

SIZES = (1, 2, 5, 10)
N_FITS = 20
THREADS = 2
ROUNDS = 2


class FoldPlan(NamedTuple):
    """A table, a model and how long to train it."""

    n_samples: int
    n_features: int
    hidden_units: tuple[int, ...]
    n_labels: int
    batch_size: int
    epochs: int

    def __str__(self) -> str:
        """Return what a heading says."""
        layers = ",".join(map(str, self.hidden_units))
        table = f"{self.n_samples} x {self.n_features}"
        return f"{table} -> {layers} -> {self.n_labels}, batch {self.batch_size}"


WORKS = (
    FoldPlan(1_000, 10, (20,), 3, 32, 200),
    FoldPlan(2_417, 103, (256, 128), 14, 32, 10),
    FoldPlan(20_000, 500, (512,), 50, 256, 1),
)


def seconds_per_epoch(work: FoldPlan, config: TrainingConfig) -> float:
    """Train all fits and return seconds per fit and epoch, compiling aside."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(work.n_samples, work.n_features)).astype(np.float32)
    y = (rng.random((work.n_samples, work.n_labels)) < 0.3).astype(np.int8)
    nothing = fit_preprocessor(compose_config().preprocessing, X, (), np.arange(work.n_samples))
    folds = np.arange(work.n_samples) % 10
    fits = [
        FitSpec(fit, np.flatnonzero(folds != fit % 10), np.flatnonzero(folds == fit % 10), nothing)
        for fit in range(N_FITS)
    ]
    build = partial(mlp, n_labels=work.n_labels, hidden_units=work.hidden_units)
    trainer = KerasTrainer(build, config, X, y, fits)
    trainer.compile()
    began = time.perf_counter()
    list(trainer.train())
    return (time.perf_counter() - began) / (N_FITS * work.epochs)


def automatic(work: FoldPlan) -> int:
    """Return the stack size that a configuration without one gets."""
    n_weights = mlp(work.n_features, work.n_labels, hidden_units=work.hidden_units).count_params()
    n_state = 3 * n_weights + 2  # Adam: two moments per weight, iterations and learning rate
    n_train = work.n_samples * 9 // 10
    return plan_stacks(
        N_FITS, n_train, work.batch_size, n_weights, n_state, work.epochs, None, THREADS
    ).stack_size


def main() -> None:
    training = compose_config().training
    for work in WORKS:
        config = replace(
            training, epochs=work.epochs, batch_size=work.batch_size, n_threads=THREADS
        )
        chosen = automatic(work)
        sizes = sorted({*SIZES, chosen})
        seconds = {size: float("inf") for size in sizes}
        for _ in range(ROUNDS):
            for size in sizes:
                taken = seconds_per_epoch(work, replace(config, fits_per_program=size))
                seconds[size] = min(seconds[size], taken)
        best = min(seconds.values())
        print(f"{work}:")
        for size, taken in seconds.items():
            arrow = "  <- automatic" if size == chosen else ""
            print(f"  stack of {size:2}  {1000 * taken:8.3f} ms  {taken / best:5.2f}{arrow}")


if __name__ == "__main__":
    main()
