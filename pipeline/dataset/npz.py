"""Read arrays that `numpy.savez` wrote; pickled objects are never loaded."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.config import NpzConfig
from pipeline.dataset.builder import dataset_from_arrays
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import check_fits_memory, find_file
from pipeline.dataset.label_values import LabelValues
from pipeline.dataset.times import array_to_times
from pipeline.errors import UserError, suggest

_USED = ("X", "y", "feature_names", "label_names", "groups", "times", "sample_weight")
_READ_ERRORS = (
    KeyError,  # a damaged directory of the archive
    OSError,
    EOFError,
    ValueError,
    MemoryError,
    RuntimeError,  # an encrypted archive, or a newer version of zip
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def load(config: NpzConfig) -> Dataset:
    """Read the arrays `X`, `y` and, where they exist, names, groups, times and weights.

    Raises:
        UserError: If the file is damaged, holds Python objects, or lacks X or y.
    """
    path = find_file(config.path)
    arrays, names = _read_arrays(path)
    for key in ("X", "y"):
        if key not in arrays:
            raise UserError(
                f"{path}: expected arrays X and y. Received: no {key}. {suggest(key, names)}"
            )
    for key in arrays.keys() & {"groups", "times", "sample_weight"}:
        if arrays[key].shape != (len(arrays["X"]),):
            raise UserError(
                f"{path}: expected {key} of shape ({len(arrays['X'])},), one per row. Received: "
                f"shape {arrays[key].shape}."
            )
    groups, times = arrays.get("groups"), arrays.get("times")
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    weights = arrays.get("sample_weight")
    if weights is not None and weights.dtype.kind not in "iuf":
        raise UserError(
            f"{path}: expected numbers as sample_weight. Received: an array of {weights.dtype}."
        )
    return dataset_from_arrays(
        config.name or path.stem,
        str(path),
        arrays["X"],
        arrays["y"],
        feature_names=arrays.get("feature_names"),
        label_names=arrays.get("label_names"),
        groups=groups,
        sample_weight=None if weights is None else weights.astype(np.float32),
        label_values=LabelValues.of(config),
        times=None if times is None else array_to_times(str(path), times),
    )


def _read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the arrays that are used, and the names of all."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("a single array")
            used = [key for key in _USED if key in file.files]
            for key in used:
                with file.zip.open(f"{key}.npy") as array:
                    _check_header(f"{path}, {key}", array, n_copied=12 if key == "X" else 1)
            return {key: file[key] for key in used}, file.files
    except UserError:
        raise
    except _READ_ERRORS as error:
        reason = str(error).partition("\n")[0]
        if "pickle" in reason:  # NumPy's message suggests to load the objects, which can run code
            reason = "Python objects" if zipfile.is_zipfile(path) else "a file of another format"
        raise UserError(
            f"{path}: expected arrays that numpy.savez wrote, without Python objects. Received: "
            f"{reason}"
        ) from error


def _check_header(source: str, file: IO[bytes], n_copied: int) -> None:
    """Check the size of an array, which its header declares, before it is read.

    Args:
        source: Origin of the array, for the message.
        file: The array.
        n_copied: Bytes per value of its copies, such as X in float64 and float32.
    """
    is_first_version = npy.read_magic(file) == (1, 0)
    read = npy.read_array_header_1_0 if is_first_version else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    check_fits_memory(source, shape, dtype.itemsize + n_copied)
