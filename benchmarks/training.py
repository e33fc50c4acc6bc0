"""The tutorial's 30 fits: Manyfold's trainer against the plain loop of `model.fit`.

Both sides train the default configuration, 100 epochs at batch size 32, and score the test rows.
Manyfold trains all 30 folds, each time with a trainer that has to compile anew, (a) with building
and compiling counted and (b) without; TensorFlow is imported already. Keras builds, compiles, fits
and predicts one fold at a time. A whole loop would take minutes, so it is timed on 3 folds and
their median is taken 30 times. The sides take turns; the median of each counts, and the first
compilation, of a cold process, is shown beside it.

`docs/measurements.md` has what was measured.
"""

import time
from functools import partial
from statistics import median

from benchmarks.tutorial import compose_config, make_fits, plain_keras
from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.model.keras_models import build_model
from pipeline.training.keras_trainer import KerasTrainer

ROUNDS = 3


def main() -> None:
    config = compose_config()
    dataset = load(config.dataset)
    splits = make_splits(config.cv, dataset)
    fits = make_fits(config, dataset, [(config.seed, split) for split in splits])

    def stacked() -> tuple[float, float]:
        """Return seconds of everything, and of the training alone."""
        began = time.perf_counter()
        trainer = KerasTrainer(
            partial(build_model, config.model, n_labels=dataset.n_labels),
            config.training,
            dataset.X,
            dataset.y,
            fits,
        )
        trainer.compile()
        compiled = time.perf_counter()
        list(trainer.train())
        ended = time.perf_counter()
        return ended - began, ended - compiled

    def plain(fold: int) -> float:
        began = time.perf_counter()
        plain_keras(dataset, splits[fold], seed=config.seed)
        return time.perf_counter() - began

    stacks, loops = [], []
    for fold in range(ROUNDS):
        stacks += [stacked(), stacked()]
        loops.append(plain(fold))
    loop = len(splits) * median(loops)
    whole, trained = (median(seconds) for seconds in zip(*stacks, strict=True))

    print(f"The default configuration's {len(splits)} fits of {config.training.epochs} epochs:")
    print(f"  plain Keras loop   {loop:8.2f} s  ({len(splits)} x the median of {ROUNDS} folds:")
    print(f"                     {', '.join(f'{seconds:.2f}' for seconds in loops)} s)")
    print(
        f"  Manyfold, (a)      {whole:8.2f} s  with compiling: {loop / whole:.0f} times as fast"
        f"  (the first time {stacks[0][0]:.2f} s: {loop / stacks[0][0]:.0f} times)"
    )
    print(f"  Manyfold, (b)      {trained:8.2f} s  after compiling: {loop / trained:.0f} times")


if __name__ == "__main__":
    main()
