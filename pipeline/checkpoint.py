"""Finished folds as files while their run is under way: one that was cut off goes on from there.

A file per fold, `<repeat>-<fold>.npz`, holds its arrays as they are and all else as JSON, without a
pickle. It is written under a temporary name, forced to the disk and renamed, so one that exists is
whole. One that cannot be read all the same is ignored, and its fold trained again.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.cv import Split

if TYPE_CHECKING:
    from pipeline.runner import FoldResult

REST = "rest"  # the fields that are no arrays, as JSON
ELAPSED = "elapsed"


class Checkpoint:
    """The finished folds of one run.

    Attributes:
        elapsed: Seconds that the attempts before this one took, as far as they are known.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder of the run; it is made with the first file."""
        self._folder = folder
        self._kept: set[Path] = set()
        self._can_write = True
        self.elapsed = 0.0

    def load(self, splits: Sequence[Split]) -> "list[FoldResult]":
        """Return the folds that an earlier attempt finished."""
        found = [self._read(self._path(split), split) for split in splits]
        return [fold for fold in found if fold]

    def save(self, fold: "FoldResult", elapsed: float) -> OSError | None:
        """Keep a fold, unless it is kept already.

        Args:
            fold: What is known of it.
            elapsed: Seconds that the job took so far, earlier attempts included.

        Returns:
            Why nothing can be kept, the first time: a kill would cost this work then, no more.
        """
        path = self._path(fold.split)
        if path not in self._kept and self._can_write:
            try:
                self._write(path, fold, elapsed)
            except OSError as error:
                self._can_write = False
                return error
        return None

    def take_over(self, run_id: str) -> None:
        """Take the files of another run, in whose place this one is."""
        other = self._folder.with_name(run_id)
        if other.is_dir() and not self._folder.exists():
            other.rename(self._folder)

    def remove(self) -> None:
        """Remove the files: the run is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, split: Split) -> Path:
        return self._folder / f"{split.repeat}-{split.fold}.npz"

    def _write(self, path: Path, fold: "FoldResult", elapsed: float) -> None:
        values = {field.name: getattr(fold, field.name) for field in fields(fold)}
        del values["split"]  # the digest of a run's splits tells which it is
        arrays = {name: it for name, it in values.items() if isinstance(it, np.ndarray)}
        rest = {name: it for name, it in values.items() if name not in arrays}
        rest[ELAPSED] = elapsed
        text = json.dumps(rest, default=lambda number: number.item())
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **{REST: _as_array(text)})
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._kept.add(path)

    def _read(self, path: Path, split: Split) -> "FoldResult | None":
        from pipeline.runner import FoldResult

        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            rest = json.loads(arrays.pop(REST).tobytes())
            elapsed = rest.pop(ELAPSED)
            fold = FoldResult(split=split, **arrays, **rest)
        except Exception:  # zip, NumPy and JSON raise a dozen kinds; whatever it is, it is not used
            return None
        if len(fold.y_score) != len(split.test):
            return None
        self._kept.add(path)
        self.elapsed = max(self.elapsed, elapsed)
        return fold


def _as_array(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
