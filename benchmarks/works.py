"""The works of the benchmark, their tables and folds, and the recipe that contestants share."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_LATENT = 10  # combinations of the features that determine the labels of made-up tables


@dataclass(frozen=True)
class Work:
    """A table, a multi-layer perceptron and its cross-validation.

    Attributes:
        name: Name of the piece of the benchmark.
        n_samples: Rows.
        n_features: Columns of features.
        hidden_units: Units of each hidden layer.
        n_labels: Labels.
        batch_size: Rows of a training step.
        epochs: Epochs of each fit.
        n_splits: Folds of each repeat.
        n_repeats: Repeats of the cross-validation.
        density: Fraction of the features that is not 0; below 1 the table is sparse.
        is_tutorial: Whether the table is that of the default configuration.
    """

    name: str
    n_samples: int
    n_features: int
    hidden_units: tuple[int, ...]
    n_labels: int
    batch_size: int
    epochs: int
    n_splits: int
    n_repeats: int = 1
    density: float = 1.0
    is_tutorial: bool = False

    @property
    def n_fits(self) -> int:
        """Number of fits."""
        return self.n_splits * self.n_repeats

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width of each layer, from the features to the labels."""
        return (self.n_features, *self.hidden_units, self.n_labels)

    @property
    def n_weights(self) -> int:
        """Weights of one network, biases included."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def operations(self) -> float:
        """Floating-point operations of all training steps: 6 per weight and row."""
        n_train = self.n_samples * (self.n_splits - 1) / self.n_splits
        return 6 * self.n_weights * n_train * self.epochs * self.n_fits

    def to_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Work":
        """Return the work of such a text."""
        values = json.loads(text)
        return cls(**{**values, "hidden_units": tuple(values["hidden_units"])})

    def __str__(self) -> str:
        """Format the sizes."""
        kind = " sparse" if self.density < 1 else ""
        units = ",".join(f"{n:,}" for n in self.hidden_units)
        return (
            f"{self.n_samples:,} x {self.n_features:,}{kind} -> {units} -> {self.n_labels:,}, "
            f"batch {self.batch_size:,}, {self.n_fits} fits x {self.epochs} epochs"
        )


WORKS = {
    work.name: work
    for work in (
        Work("tutorial", 1_000, 10, (20,), 3, 32, 100, 10, 3, is_tutorial=True),
        Work("yeast", 2_417, 103, (256, 128), 14, 32, 20, 10),
        Work("medium", 20_000, 500, (512,), 50, 256, 3, 10),
        Work("wide", 10_000, 5_000, (512,), 1_000, 256, 5, 3, density=0.01),
        Work("tall", 1_000_000, 50, (64,), 10, 1_024, 1, 3),
    )
}


@dataclass(frozen=True, eq=False)
class Data:
    """A table and its folds.

    Attributes:
        X: Features of shape (n_samples, n_features), float32; a CSR matrix if they are sparse.
        y: Labels of shape (n_samples, n_labels), int8.
        folds: Fold that tests each row, of shape (n_repeats, n_samples).
    """

    X: Any
    y: NDArray[np.int8]
    folds: NDArray[np.int16]

    def rows(self, fit: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the training rows and the test rows of a fit."""
        repeat, fold = divmod(fit, int(self.folds.max()) + 1)
        is_test = self.folds[repeat] == fold
        rows = np.arange(len(is_test), dtype=np.int32)
        return rows[~is_test], rows[is_test]

    @property
    def dense(self) -> NDArray[np.float32]:
        """Features as an array."""
        X: NDArray[np.float32] = self.X if isinstance(self.X, np.ndarray) else self.X.toarray()
        return X


def write_data(work: Work, folder: Path) -> None:
    """Write the table and the folds of a work."""
    rng = np.random.default_rng(0)
    repeats = [rng.permutation(work.n_samples) % work.n_splits for _ in range(work.n_repeats)]
    np.save(folder / "folds.npy", np.array(repeats, dtype=np.int16))
    if work.is_tutorial:
        from benchmarks.tutorial import compose_config
        from pipeline.dataset.loading import load

        dataset = load(compose_config().dataset)
        X, y = dataset.X, dataset.y
    else:
        X, y = _make_table(work, rng)
    if work.density < 1:
        from scipy import sparse

        sparse.save_npz(folder / "X.npz", X, compressed=False)
    else:
        np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)


def _make_table(work: Work, rng: np.random.Generator) -> tuple[Any, NDArray[np.int8]]:
    """Return features, and labels that a network can learn from them."""
    shape = work.n_samples, work.n_features
    if work.density < 1:
        from scipy import sparse

        X = sparse.random_array(
            shape, density=work.density, format="csr", dtype=np.float32, rng=rng
        )
    else:
        X = rng.standard_normal(shape, dtype=np.float32)
    latent = X @ rng.standard_normal((work.n_features, N_LATENT), dtype=np.float32)
    latent /= latent.std(axis=0)
    y = np.empty((work.n_samples, work.n_labels), dtype=np.int8)
    for label in range(work.n_labels):
        weights = rng.standard_normal(N_LATENT, dtype=np.float32)
        score = latent @ weights + rng.standard_normal(work.n_samples, dtype=np.float32)
        y[:, label] = score > 0.5 * score.std()
    return X, y


def read_data(folder: Path) -> Data:
    """Read what `write_data` has written."""
    if (folder / "X.npz").exists():
        from scipy import sparse

        X = sparse.load_npz(folder / "X.npz")
    else:
        X = np.load(folder / "X.npy")
    return Data(X, np.load(folder / "y.npy"), np.load(folder / "folds.npy"))


def write_file(data: Data, path: Path) -> None:
    """Write a table for the command: NumPy arrays, or sparse rows in the svmlight format."""
    if path.suffix == ".npz":
        np.savez(path, X=data.X, y=data.y)
        return
    with path.open("w") as file:
        for row, labels in enumerate(data.y):
            start, stop = data.X.indptr[row : row + 2]
            pairs = zip(data.X.indices[start:stop], data.X.data[start:stop], strict=True)
            features = " ".join(f"{index}:{value:.5g}" for index, value in sorted(pairs))
            file.write(f"{','.join(map(str, np.flatnonzero(labels)))} {features}\n")


Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


def initial_weights(work: Work, seed: int) -> Layers:
    """Draw the kernel and the bias of each layer: He uniform, and Glorot uniform for the last."""
    rng = np.random.default_rng(seed)
    layers = []
    pairs = list(pairwise(work.sizes))
    for number, (n_in, n_out) in enumerate(pairs):
        is_last = number == len(pairs) - 1
        limit = np.sqrt(6 / (n_in + n_out) if is_last else 6 / n_in)
        kernel = rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32)
        layers.append((kernel, np.zeros(n_out, dtype=np.float32)))
    return layers


def make_batches(
    work: Work, trains: Sequence[NDArray[np.int32]], seed: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Draw the order of the rows of several fits for all epochs.

    Returns:
        Row numbers of shape (n_fits, epochs, n_steps, batch_size), and weights of shape
        (n_fits, n_steps, batch_size): 0 where the last batches have fewer rows.
    """
    rng = np.random.default_rng(seed)
    n_steps = -(-max(map(len, trains)) // work.batch_size)
    n_padded = n_steps * work.batch_size
    rows = np.zeros((len(trains), work.epochs, n_padded), dtype=np.int32)
    weights = np.zeros((len(trains), n_padded), dtype=np.float32)
    for fit, train in enumerate(trains):
        weights[fit, : len(train)] = 1
        for epoch in range(work.epochs):
            rows[fit, epoch, : len(train)] = rng.permutation(train)
    return (
        rows.reshape(len(trains), work.epochs, n_steps, work.batch_size),
        weights.reshape(len(trains), n_steps, work.batch_size),
    )


if __name__ == "__main__":  # in a process of its own, so that the caller's stays small
    write_data(Work.from_json(sys.argv[1]), Path(sys.argv[2]))
    if len(sys.argv) > 3:
        write_file(read_data(Path(sys.argv[2])), Path(sys.argv[3]))
