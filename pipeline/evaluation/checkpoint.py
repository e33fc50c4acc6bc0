"""Keep the finished folds of an unfinished run as files, so that it can be continued.

Each fold is one file, such as `<repeat>-<fold>.npz`: arrays as they are, everything else as JSON,
nothing pickled. It is written under a temporary name, synced and renamed, so a file that exists is
complete. A file that cannot be read is ignored, and its fold trained again.

A fold is written half a second after it is saved: by then, a short run has finished, and the fold
needs no file.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from pipeline.cv import Split
from pipeline.decision import DecisionRule
from pipeline.evaluation.fold_results import FoldResult

JSON = "json"  # name of the array that holds everything but arrays, as JSON
ARRAYS = ("y_score", "y_pred", "loss", "val_loss", "test_loss")
SECONDS_UNTIL_WRITTEN = 0.5  # a process that is killed loses the folds of so long
VALUES = ("scores", "n_undefined_labels", "seconds")


class Checkpoint:
    """The finished folds of one run.

    Attributes:
        elapsed: Time in seconds that previous attempts took, until their last saved fold.
    """

    def __init__(self, folder: Path, importance: Mapping[str, str] | None = None) -> None:
        """Set the folder of the run, which is created with its first file.

        Args:
            folder: The folder.
            importance: Settings of the importance of features; folds without it, or with that of
                other settings, are trained again. None accepts all folds.
        """
        self._folder, self._importance = folder, dict(importance or {})
        self._written: set[Path] = set()
        self._write_error: OSError | None = None
        self._is_urgent, self._is_removed = Event(), False
        self.elapsed = 0.0

    def __enter__(self) -> "Checkpoint":
        """Return the checkpoint; an exception in the block has the folds written at once."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the folds at once after an exception."""
        if kind:
            self.flush()

    def load(self, splits: Sequence[Split]) -> list[FoldResult]:
        """Return the folds that a previous attempt finished."""
        folds = [self._read(self._path(split), split) for split in splits]
        return [fold for fold in folds if fold]

    def save(self, fold: FoldResult, elapsed: float) -> OSError | None:
        """Write a fold and the seconds of the run so far in another thread, unless it is written.

        It is not written if the run has finished within half a second.

        Returns:
            The error of a failed write, reported once; the fold is lost if the run is killed.
        """
        path = self._path(fold.split)
        if path not in self._written:
            due = time.monotonic() + SECONDS_UNTIL_WRITTEN
            _disk().submit(self._try_to_write, path, fold, elapsed, due)
        error, self._write_error = self._write_error, None
        return error

    def flush(self) -> None:
        """Write the folds at once, also later ones."""
        self._is_urgent.set()

    def wait(self) -> None:
        """Wait until everything is written or removed, as the end of a process does."""
        self.flush()
        _disk().submit(int).result()

    def take_over(self, run_id: str) -> None:
        """Take the files of a failed run that this run replaces."""
        other = self._folder.with_name(run_id)
        if other.is_dir() and not self._folder.exists():
            other.rename(self._folder)

    def remove(self) -> None:
        """Remove the files of the finished run in another thread."""
        self._is_removed = True
        self.flush()
        _disk().submit(shutil.rmtree, self._folder, ignore_errors=True)

    def _path(self, split: Split) -> Path:
        prefix = re.sub(r"\W+", "-", split.prefix)
        return self._folder / f"{prefix}{split.repeat}-{split.fold}.npz"

    def _try_to_write(self, path: Path, fold: FoldResult, elapsed: float, due: float) -> None:
        self._is_urgent.wait(due - time.monotonic())
        if self._is_removed:
            return
        try:
            self._write(path, fold, elapsed)
        except OSError as error:
            self._write_error = error

    def _write(self, path: Path, fold: FoldResult, elapsed: float) -> None:
        arrays = {name: getattr(fold, name) for name in ARRAYS}
        arrays |= {"temperature": fold.rule.temperature, "threshold": fold.rule.threshold}
        if fold.importance is not None:
            arrays["importance"] = fold.importance
        values = {
            **{name: getattr(fold, name) for name in VALUES},
            "elapsed": elapsed,
            "importance_settings": self._importance,
        }
        text = json.dumps(values, default=lambda number: number.item())
        arrays[JSON] = np.frombuffer(text.encode(), dtype=np.uint8)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._written.add(path)

    def _read(self, path: Path, split: Split) -> FoldResult | None:
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays: dict[str, Any] = {name: file[name] for name in file.files}
            values = json.loads(arrays.pop(JSON).tobytes())
            elapsed, importance = values.pop("elapsed"), values.pop("importance_settings", {})
            rule = DecisionRule(arrays.pop("temperature"), arrays.pop("threshold"))
            fold = FoldResult(split=split, rule=rule, **arrays, **values)
        except Exception:  # zip, NumPy and JSON raise many kinds; any of them means damage
            return None
        if len(fold.y_score) != len(split.test) or self._importance not in ({}, importance):
            return None
        self._written.add(path)
        self.elapsed = max(self.elapsed, elapsed)
        return fold


@cache
def _disk() -> ThreadPoolExecutor:
    """Return the thread that writes and removes files, in the order of the calls."""
    return ThreadPoolExecutor(1, "checkpoint")
