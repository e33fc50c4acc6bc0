"""A C program for one hidden layer, compiled here: the floor for small networks."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.works import Data, Work, initial_weights

SOURCE = Path(__file__).with_name("mlp.c")
N_THREADS = 2


class Contestant:
    """One fit per thread; the program reads its input from a file and writes probabilities."""

    def __init__(self, work: Work, data: Data) -> None:
        """Keep the table.

        Raises:
            ImportError: If there is no C compiler.
        """
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            raise ImportError("no C compiler", name="cc")
        self._compiler = compiler
        self._work, self._data = work, data
        self._folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)

    def prepare(self) -> None:
        """Compile the program for the sizes of the network, and draw the initial weights."""
        sizes = dict(zip(("N_FEATURES", "N_HIDDEN", "N_LABELS"), self._work.sizes, strict=True))
        subprocess.run(
            [self._compiler, "-O3", "-march=native", "-ffast-math", "-pthread"]
            + [f"-D{name}={size}" for name, size in sizes.items()]
            + [str(SOURCE), "-o", f"{self._folder}/mlp", "-lm"],
            check=True,
        )
        self._weights = [initial_weights(self._work, fit) for fit in range(self._work.n_fits)]

    def train(self, fits: Sequence[int]) -> list[NDArray[np.floating]]:
        """Return the probabilities for the test rows of each fit."""
        path = self._folder
        rows = [self._data.rows(fit) for fit in fits]
        header = [len(self._data.y), len(fits), self._work.batch_size, self._work.epochs, N_THREADS]
        with (path / "input").open("wb") as file:
            np.array(header, dtype=np.int32).tofile(file)
            self._data.dense.astype(np.float32).tofile(file)
            self._data.y.astype(np.float32).tofile(file)
            for fit, (train, test) in zip(fits, rows, strict=True):
                np.array([len(train), len(test)], dtype=np.int32).tofile(file)
                np.concatenate([train, test]).astype(np.int32).tofile(file)
                for layer in self._weights[fit]:
                    for array in layer:
                        array.tofile(file)
        subprocess.run([path / "mlp", path / "input", path / "output"], check=True)
        scores = np.fromfile(path / "output", dtype=np.float32).reshape(-1, self._work.n_labels)
        return np.split(scores, np.cumsum([len(test) for _, test in rows])[:-1])
