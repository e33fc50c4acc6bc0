"""Whether Manyfold finds the accuracy that a plain Keras loop finds.

The default configuration's 30 splits are dealt out over 10 seeds, 3 splits to a seed, so that every
split is fitted once (`--rounds 2`: twice, under another seed, and so on). Manyfold and the plain
loop make exactly these fits; a pair of fits shares its split, each side draws weights and order of
rows for itself. The mean difference of subset accuracy is printed with its standard error over the
pairs: what chance in the training leaves open, given these splits. Keras runs an epoch per
execution (`steps_per_execution`), which changes its speed alone. Printed beside it: Manyfold's mean
over all 30 splits for each of the 10 seeds, 300 fits, which takes a plain loop most of an hour, and
the difference of the same Keras fits to the mean of Manyfold's 10 on each split: less noise.

Measured with `--rounds 2`, 60 fits a side: Manyfold 0.8185, Keras 0.8105, difference +0.0080
(standard error 0.0035). Manyfold's own mean over the 300 fits is 0.8136, 0.0031 above Keras: the
rest of the paired difference is the luck of Manyfold's 60 fits.
"""

import argparse
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.tutorial import compose_config, make_fits, plain_keras
from pipeline.cv.splitters import make_splits
from pipeline.dataset.loading import load
from pipeline.model.keras_models import build_model
from pipeline.training.base import fit_seed
from pipeline.training.keras_trainer import KerasTrainer

N_SEEDS = 10


def show_difference(name: str, ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> None:
    difference = ours - theirs
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    print(
        f"  {name}: mean {ours.mean():.4f}, difference {difference.mean():+.4f} "
        f"(standard error {error:.4f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="fits of each split per side")
    rounds = parser.parse_args().rounds
    config = compose_config()
    dataset = load(config.dataset)
    splits = make_splits(config.cv, dataset)
    work = [(seed, split) for seed in range(N_SEEDS) for split in splits]
    trainer = KerasTrainer(
        partial(build_model, config.model, n_labels=dataset.n_labels),
        config.training,
        dataset.X,
        dataset.y,
        make_fits(config, dataset, work),
    )

    def score(place: int, y_score: np.ndarray) -> float:
        y_pred = y_score > config.decision.threshold
        return float((y_pred == dataset.y[splits[place].test]).all(axis=1).mean())

    n = len(splits)
    stacked = np.empty((N_SEEDS, n))
    for place, result in enumerate(trainer.train()):
        stacked[divmod(place, n)] = score(place % n, result.y_score)
    means = stacked.mean(axis=1)
    print(
        f"Manyfold, {N_SEEDS} seeds x {n} splits: mean of means {means.mean():.4f}, "
        f"from {means.min():.4f} to {means.max():.4f}"
    )

    steps = -(-len(splits[0].train) // config.training.batch_size)
    ours, theirs = np.empty(rounds * n), np.empty(rounds * n)
    began = time.perf_counter()
    for fit in range(rounds * n):
        place, seed = fit % n, (fit + fit // n) % N_SEEDS
        split = splits[place]
        own = fit_seed(seed, (split.repeat, split.fold))
        y_score = plain_keras(dataset, split, seed=own, steps_per_execution=steps)
        theirs[fit], ours[fit] = score(place, y_score), stacked[seed, place]
    seconds = time.perf_counter() - began
    print(f"{len(theirs)} fits by plain Keras, {seconds:.0f} s: mean {theirs.mean():.4f}")
    show_difference("the same fits by Manyfold", ours, theirs)
    by_split = np.tile(stacked.mean(axis=0), rounds)
    show_difference(f"Manyfold's mean of {N_SEEDS} seeds on the same splits", by_split, theirs)


if __name__ == "__main__":
    main()
