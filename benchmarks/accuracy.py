"""Whether Manyfold finds the accuracy that a plain Keras loop finds.

The default configuration's 30 splits are dealt out over 10 seeds, 3 splits to a seed, so that every
split is fitted once (`--rounds 2`: twice, under another seed, and so on). Manyfold and the plain
loop make exactly these fits. A pair of fits shares split and initial weights; Keras then draws its
own order of rows. The mean difference of subset accuracy is printed with its standard error over
the pairs: what chance in the training leaves open, given these splits. Keras runs one epoch per
execution of its compiled step (`steps_per_execution`), which changes its speed alone. Beside it,
Manyfold's mean over all 30 splits for each of the 10 seeds.

FIGURES
"""

import argparse

import numpy as np

from benchmarks.tutorial import default_config, make_fits, plain_keras
from pipeline.cv import make_splits
from pipeline.dataset import load
from pipeline.model import build_model
from pipeline.scoring import accuracy, apply_threshold
from pipeline.training import StackedTrainer, fit_seed

N_SEEDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="fits of each split per side")
    rounds = parser.parse_args().rounds
    config = default_config()
    dataset = load(config.dataset)
    splits = make_splits(config.cv, dataset)
    work = [(seed, split) for seed in range(N_SEEDS) for split in splits]
    trainer = StackedTrainer(
        lambda: build_model(config.model, dataset.n_features, dataset.n_labels),
        config.training,
        dataset.X,
        dataset.y,
        make_fits(config, dataset, work),
    )

    def score(place: int, y_score: np.ndarray) -> float:
        y_true = dataset.y[splits[place].test]
        return accuracy(y_true, y_score, apply_threshold(y_score, config.scoring.threshold))

    n = len(splits)
    stacked = np.empty((N_SEEDS, n))
    for place, fitted in enumerate(trainer.train()):
        stacked[divmod(place, n)] = score(place % n, fitted.y_score)
    means = stacked.mean(axis=1)
    print(
        f"Manyfold, {N_SEEDS} seeds x {n} splits: mean of means {means.mean():.4f}, "
        f"from {means.min():.4f} to {means.max():.4f}"
    )

    steps = -(-len(splits[0].train) // config.training.batch_size)
    ours, theirs = [], []
    for fit in range(rounds * n):
        place, seed = fit % n, (fit + fit // n) % N_SEEDS
        split = splits[place]
        init = fit_seed(seed, (split.repeat, split.fold))
        y_score = plain_keras(dataset, split, seed=init, steps_per_execution=steps)
        theirs.append(score(place, y_score))
        ours.append(float(stacked[seed, place]))
    difference = np.subtract(ours, theirs)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    print(
        f"{len(difference)} pairs of fits: Manyfold {np.mean(ours):.4f}, plain Keras "
        f"{np.mean(theirs):.4f}, difference {difference.mean():+.4f} (standard error {error:.4f})"
    )


if __name__ == "__main__":
    main()
