"""Finished folds as files while their run is under way: one that was cut off goes on from there.

A file per fold, `<repeat>-<fold>.npz`, holds its arrays as they are and all else as JSON, without a
pickle. It is written under a temporary name, forced to the disk and renamed, so one that exists is
whole. One that cannot be read all the same is ignored, and its fold trained again.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from pipeline.cv import Split

if TYPE_CHECKING:
    from pipeline.evaluation.evaluator import FoldResult


REST = "rest"  # the fields that are no arrays, as JSON
ELAPSED = "elapsed"
SPLIT = "split"


class Checkpoint:
    """The finished folds of one run.

    Attributes:
        elapsed: Seconds that the attempts before this one took, as far as they are known.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder of the run; it is made with the first file."""
        self._folder = folder
        self._cache: set[Path] = set()
        self._write_error: OSError | None = None
        self.elapsed = 0.0

    def load(self, splits: Sequence[Split]) -> "list[FoldResult]":
        """Return the folds that an earlier attempt finished."""
        found = [self._read(self._path(split), split) for split in splits]
        return [fold for fold in found if fold]

    def save(self, fold: "FoldResult", elapsed: float) -> OSError | None:
        """Keep a fold, unless it is kept already; the disk is waited for elsewhere.

        Args:
            fold: What is known of it.
            elapsed: Seconds that the job took so far, earlier attempts included.

        Returns:
            Why an earlier fold could not be kept, once; a kill would cost the work, no more.
        """
        path = self._path(fold.split)
        if path not in self._cache:
            _disk().submit(self._try_to_write, path, fold, elapsed)
        error, self._write_error = self._write_error, None
        return error

    def wait(self) -> None:
        """Wait until all that was saved or removed is so on the disk; the end of a process does."""
        _disk().submit(int).result()

    def take_over(self, run_id: str) -> None:
        """Take the files of another run, in whose place this one is."""
        other = self._folder.with_name(run_id)
        if other.is_dir() and not self._folder.exists():
            other.rename(self._folder)

    def remove(self) -> None:
        """Remove the files, for the run is finished; the disk is not waited for."""
        _disk().submit(shutil.rmtree, self._folder, ignore_errors=True)

    def _path(self, split: Split) -> Path:
        return self._folder / f"{split.repeat}-{split.fold}.npz"

    def _try_to_write(self, path: Path, fold: "FoldResult", elapsed: float) -> None:
        try:
            self._write(path, fold, elapsed)
        except OSError as error:
            self._write_error = error

    def _write(self, path: Path, fold: "FoldResult", elapsed: float) -> None:
        values = dict(_flat(fold))
        arrays = {name: it for name, it in values.items() if isinstance(it, np.ndarray)}
        rest = {name: it for name, it in values.items() if name not in arrays}
        text = json.dumps({**rest, ELAPSED: elapsed}, default=lambda number: number.item())
        arrays[REST] = np.frombuffer(text.encode(), dtype=np.uint8)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._cache.add(path)

    def _read(self, path: Path, split: Split) -> "FoldResult | None":
        from pipeline.evaluation.evaluator import FoldResult

        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                values: dict[str, Any] = {name: file[name] for name in file.files}
            values |= json.loads(values.pop(REST).tobytes())
            elapsed = values.pop(ELAPSED)
            fold: FoldResult = _unflat(FoldResult, {**values, SPLIT: split})
        except Exception:  # zip, NumPy and JSON raise a dozen kinds; whatever it is, it is not used
            return None
        if len(fold.y_score) != len(split.test):
            return None
        self._cache.add(path)
        self.elapsed = max(self.elapsed, elapsed)
        return fold


@cache
def _disk() -> ThreadPoolExecutor:
    """Return the thread that waits for the disk: what it is given is done in that order."""
    return ThreadPoolExecutor(1, "checkpoint")


def _flat(record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record and of those in it, but for the split, which the run knows."""
    for field in fields(record):
        name, value = f"{prefix}{field.name}", getattr(record, field.name)
        if name == SPLIT:
            continue
        if is_dataclass(value):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _unflat(kind: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Return a record of that kind from what `_flat` yields."""
    hints = get_type_hints(kind)
    given = {}
    for field in fields(kind):
        name = f"{prefix}{field.name}"
        inner = is_dataclass(hints[field.name]) and name not in values
        given[field.name] = (
            _unflat(hints[field.name], values, f"{name}.") if inner else values[name]
        )
    return kind(**given)
