"""Keep memory-mapped tables on disk, so that later processes need not read their sources again.

Each table has a folder below that of the user: the matrix of its features, and all else of the
data set, with nothing pickled. The digest of the data set, which is computed anew from all values,
tells whether they are undamaged.
"""

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cache_folder import find_cache, make_private, newest_first
from pipeline.config import TableConfig
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.mapped_files import FOLDER, UNFINISHED, disk_error, open_matrix
from pipeline.preprocessing import TableSchema

MAX_TABLES = 8
SECONDS_UNUSED = 30 * 86_400  # after which a table is removed
SECONDS_TO_BUILD = 86_400  # after which an unfinished table is removed
MATRIX, REST = "X.npy", "dataset.npz"
JSON = "json"  # name of the array that holds everything but arrays, as JSON
ARRAYS = ("y", "groups", "fold", "ids", "label_mask", "sample_weight", "times")
TEXTS = ("name", "label_names", "source", "warnings", "notes", "digest")
LIBRARIES = ("numpy", "openpyxl", "pyarrow")  # that read a table
_PACKAGE = Path(__file__).parents[1]


def table_key(path: Path, config: TableConfig, formats: Mapping[str, str] | None) -> str:
    """Return a name for a table: its file as it is now, the settings that read it, and the code."""
    state = path.stat()
    config = replace(config, predict_rows=(), drop_duplicates=False, memory_map=None)
    file = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
    parts = path.absolute(), file, config, formats, _code_version()
    return sha256(repr(parts).encode()).hexdigest()[:32]


def load_mapped(key: str, build: Callable[[Path], Dataset]) -> Dataset:
    """Return a data set whose matrix is memory-mapped, from the cache if it is there, undamaged.

    Args:
        key: Name of the table.
        build: Returns the data set, with its matrix in the file `MATRIX` of a folder.

    Raises:
        UserError: If the files cannot be written.
    """
    root = find_cache(FOLDER)
    if root is None:  # the pages of deleted files remain until the end of the process
        with tempfile.TemporaryDirectory(
            prefix="manyfold-", ignore_cleanup_errors=True
        ) as folder:  # NFS keeps files that are mapped
            return _with_note(build(Path(folder)), "a temporary file")
    try:
        make_private(root)
        _clean(root)
        dataset = _read(root / key)
        if dataset is None:
            with _locked(root / f"{UNFINISHED}{key}.lock"):
                dataset = _read(root / key) or _make(root, key, build)
    except OSError as error:
        raise disk_error(root, error) from error
    return _with_note(dataset, str(root / key / MATRIX))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for another job that makes the same table."""
    with path.open("w") as lock:
        with suppress(OSError):  # a disk without locks: both make it, and the first one's is kept
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:  # those that wait already have it open, and then find the table
            path.unlink(missing_ok=True)


def _make(root: Path, key: str, build: Callable[[Path], Dataset]) -> Dataset:
    """Build a data set and keep it."""
    part = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=root))
    try:
        dataset = build(part)
        _write_rest(part / REST, dataset)
        with suppress(OSError):
            part.rename(root / key)
        return dataset
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_rest(path: Path, dataset: Dataset) -> None:
    """Write all of a data set but its matrix."""
    arrays = {name: getattr(dataset, name) for name in ARRAYS}
    texts = {name: it.tolist() for name, it in dataset.exact.items() if it.dtype == object}
    exact = {name: it for name, it in dataset.exact.items() if name not in texts}
    values = {
        **{name: getattr(dataset, name) for name in TEXTS},
        "schema": dataset.schema.as_dict(),
        "texts": texts,
        "exact": list(exact),
    }
    kept = {name: array for name, array in arrays.items() if array is not None}
    kept |= {f"exact {number}": array for number, array in enumerate(exact.values())}
    kept[JSON] = np.frombuffer(json.dumps(values).encode(), dtype=np.uint8)
    np.savez(path, allow_pickle=False, **kept)


def _read_rest(path: Path) -> dict[str, Any]:
    """Return the fields of a data set but its matrix."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    values = json.loads(arrays.pop(JSON).tobytes())
    names = values.pop("exact")
    exact = {name: arrays.pop(f"exact {number}") for number, name in enumerate(names)}
    texts = {name: np.array(it, dtype=object) for name, it in values.pop("texts").items()}
    schema = TableSchema.from_dict(values.pop("schema"))
    fields = {key: tuple(it) if isinstance(it, list) else it for key, it in values.items()}
    return {**fields, **arrays, "schema": schema, "exact": exact | texts}


def _read(folder: Path) -> Dataset | None:
    """Return a data set of the cache, None if it is not there; a damaged one is removed.

    Raises:
        OSError: If the disk cannot be read, which does not mean that the table is damaged.
    """
    if not folder.exists():
        return None
    try:
        fields = _read_rest(folder / REST)
        digest = fields.pop("digest")
        dataset = Dataset(X=open_matrix(folder / MATRIX), **fields)
        if dataset.digest == digest:
            with suppress(OSError):  # a disk that can only be read
                os.utime(folder)
            return dataset
    except MemoryError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # a lost file, a damaged position in it
            raise
    except Exception:  # zip, NumPy and JSON raise many other kinds; any of them means damage
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _with_note(dataset: Dataset, location: str) -> Dataset:
    note = (
        f"the features, {dataset.X.nbytes / 1e9:,.2f} GB, are memory-mapped from {location} "
        "(dataset.memory_map)"
    )
    object.__setattr__(dataset, "notes", (*dataset.notes, note))  # `replace` would hash all values
    return dataset


def _clean(root: Path) -> None:
    """Remove tables that have long not been used, or are too many, and unfinished ones."""
    tables = newest_first(root)
    finished = [path for path, _ in tables if not path.name.startswith(UNFINISHED)]
    for path, state in tables:
        unused = time.time() - state.st_mtime
        limit = SECONDS_UNUSED if path in finished else SECONDS_TO_BUILD
        if unused > limit or path in finished[MAX_TABLES:]:
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # the lock of a killed process
                path.unlink()


@cache
def _code_version() -> str:
    sha = sha256()
    for library in LIBRARIES:
        with suppress(ImportError):  # openpyxl is optional
            sha.update(f"{library} {version(library)} ".encode())
    for package in ("dataset", "preprocessing"):
        for path in sorted((_PACKAGE / package).glob("*.py")):
            sha.update(path.read_bytes())
    return sha.hexdigest()
