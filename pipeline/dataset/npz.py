"""Read arrays that `numpy.savez` wrote; pickled objects are never loaded."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import NpzConfig
from pipeline.dataset.builder import dataset_from_arrays
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import find_file
from pipeline.errors import UserError, suggest

_READ_ERRORS = (
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
    """Read the arrays `X`, `y` and, where they exist, names and groups.

    Raises:
        UserError: If the file is damaged, holds Python objects, or lacks X or y.
    """
    path = find_file(config.path)
    arrays = _read_arrays(path)
    for key in ("X", "y"):
        if key not in arrays:
            raise UserError(
                f"{path}: expected arrays X and y. Received: no {key}. {suggest(key, arrays)}"
            )
    groups = arrays.get("groups")
    if groups is not None:
        if groups.shape != (len(arrays["X"]),):
            raise UserError(
                f"{path}: expected groups of shape ({len(arrays['X'])},), one per row. Received: "
                f"shape {groups.shape}."
            )
        groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return dataset_from_arrays(
        config.name or path.stem,
        str(path),
        arrays["X"],
        arrays["y"],
        feature_names=arrays.get("feature_names"),
        label_names=arrays.get("label_names"),
        groups=groups,
    )


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("a single array")
            return {key: file[key] for key in file.files}
    except _READ_ERRORS as error:
        reason = str(error).partition("\n")[0]
        if "pickle" in reason:  # NumPy's message suggests to load the objects, which can run code
            reason = "Python objects" if zipfile.is_zipfile(path) else "a file of another format"
        raise UserError(
            f"{path}: expected arrays that numpy.savez wrote, without Python objects. Received: "
            f"{reason}"
        ) from error
