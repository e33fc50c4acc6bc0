"""Read multi-label svmlight files: one row per line, `<label>,<label> <feature>:<value> ...`."""

import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from pipeline.config import SvmlightConfig
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import LEAVE_OUT, check_fits_memory, decode, find_file
from pipeline.dataset.matrix import encode_matrix
from pipeline.dataset.zip_archive import read_unpacked
from pipeline.errors import UserError
from pipeline.preprocessing import Column

_EXACT_FLOAT64 = 2**53  # float64 has all whole numbers below
_ENDINGS = {".svm", ".svmlight", ".libsvm", ".txt"}
_HEADER = re.compile(
    rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*+[ \t]*(\d+)[ \t]+(\d+)[ \t]+(\d+)[ \t]*(?:#[^\r\n]*)?(?=[\r\n])"
)


@dataclass(frozen=True)
class _Header:
    """The first line of files of extreme classification."""

    n_samples: int
    n_features: int
    n_labels: int


def load(config: SvmlightConfig) -> Dataset:
    """Read an svmlight file; feature 3 is named x3, label 3 is named y3.

    A feature that a row omits is 0; blank lines are no rows. Labels are the distinct whole numbers
    in the file. The first line may hold the numbers of rows, features and labels; blank lines are
    rows if it counts them.

    Raises:
        UserError: If a line cannot be read, the first line is wrong, or the dense table would not
            fit into memory.

    References:
        `sklearn.datasets.load_svmlight_file`.
        Bhatia et al., The extreme classification repository, 2016: the first line.
    """
    path = find_file(config.path)
    content = read_unpacked(path, _ENDINGS)
    decode(path, content)  # rejects binary files
    header, content = _split_header(content.removeprefix(b"\xef\xbb\xbf"))
    zero_based = "auto" if config.zero_based is None else config.zero_based
    try:
        sparse, row_labels = load_svmlight_file(
            io.BytesIO(content),
            n_features=None if header else config.n_features,
            multilabel=True,
            zero_based=True if header else zero_based,
        )
    except (ValueError, OverflowError, IndexError) as error:
        raise UserError(f"{path}: {_find_bad_line(content, str(error))}") from error
    if header:
        zero_based = _check_header(config, path, header, sparse, row_labels)
        sparse = sparse if zero_based else sparse[:, 1:]
        sparse.resize(len(row_labels), header.n_features)
    check_fits_memory(str(path), sparse.shape, 12)  # float64 and float32
    labels = sorted({label for labels in row_labels for label in labels})
    column_index = {label: j for j, label in enumerate(labels)}
    check_fits_memory(str(path), (len(row_labels), len(labels)), 1, LEAVE_OUT)
    y = np.zeros((len(row_labels), len(labels)), dtype=np.int8)
    for row, labels_of_row in enumerate(row_labels):
        y[row, [column_index[label] for label in labels_of_row]] = 1
    for label in labels:
        if not (label.is_integer() and abs(label) < _EXACT_FLOAT64):
            row = int(y[:, column_index[label]].argmax())
            raise UserError(
                f"{path}: expected labels that are whole numbers up to 2**53. Received: {label} in "
                f"row {row} (the first is 0)."
            )
    has_zero = zero_based == "auto" and (b" 0:" in content or b"\t0:" in content)
    first = 0 if zero_based is True or has_zero else 1
    columns = [Column(f"x{j + first}") for j in range(sparse.shape[1])]
    X, schema = encode_matrix(str(path), columns, sparse.toarray())
    return Dataset(
        name=config.name or path.name.removesuffix(".gz").partition(".")[0] or path.name,
        X=X,
        y=y,
        schema=schema,
        label_names=tuple(f"y{int(label)}" for label in labels),
        source=str(path),
        warnings=_find_opposites(path, labels, y),
    )


def _find_opposites(path: Path, labels: Sequence[float], y: NDArray[np.int8]) -> tuple[str, ...]:
    """Return a warning if each row has exactly one of two labels, as in files of one yes or no."""
    if len(labels) != 2 or (y.sum(axis=1) != 1).any():
        return ()
    no, yes = (int(label) for label in labels)
    command = shlex.join(["sed", f"s/^{no}[ \t]/ /", str(path)])
    return (
        f"each row has either the label {yes} or the label {no}, as if they were the yes and the "
        f"no of one label; they are read as two. To read one: {command} > one_label.svm",
    )


def _split_header(content: bytes) -> tuple[_Header | None, bytes]:
    """Return the numbers of the first line, and the content with that line left blank."""
    match = _HEADER.match(content)
    if not match:
        return None, content
    header = _Header(*(int(number[:9]) for number in match.groups()))
    rows = content[match.end() :]
    lines = rows.split(b"\n")[1:]
    if lines and not lines[-1].strip():
        lines.pop()
    if len(lines) == header.n_samples:  # blank lines are rows without labels and values
        blank = b" 0:0" if re.search(rb"[ \t]0:", rows) else b" 1:0"
        lines = [line if line.strip() else blank for line in lines]
    return header, b"\n" * content.count(b"\n", 0, match.end()) + b"\n".join([b"", *lines])


def _check_header(
    config: SvmlightConfig,
    path: Path,
    header: _Header,
    sparse: Any,
    row_labels: list[tuple[float, ...]],
) -> bool:
    """Check the first line, and return whether feature indices start at 0.

    They do, as in the files of the repository, unless the last index is the number of features.

    Args:
        config: Settings.
        path: Path of the file.
        header: Its first line.
        sparse: Features as if they started at 0, of shape (n_samples, largest index + 1).
        row_labels: Labels of each row.
    """
    largest = sparse.shape[1] - 1
    zero_based = config.zero_based
    if zero_based is None:
        zero_based = largest < header.n_features or bool((sparse.indices == 0).any())
    labels = {label for labels in row_labels for label in labels}
    expected, received = "", ""
    if config.n_features not in (None, header.n_features):
        expected, received = "features", f"dataset.n_features={config.n_features}"
    elif largest >= header.n_features + (not zero_based):
        expected, received = "features", f"one of index {largest}, from {int(not zero_based)} on"
    elif len(row_labels) != header.n_samples:
        expected, received = "samples", f"{len(row_labels)} rows. Is the file complete?"
    elif max(labels, default=0) >= header.n_labels + (0 not in labels):
        expected, received = "labels", f"a label {max(labels):g}"
    if expected:
        number = getattr(header, f"n_{expected}")
        raise UserError(
            f"{path}: expected {number} {expected.replace('samples', 'rows')}, as its first line "
            f"says. Received: {received}"
        )
    return zero_based


def _find_bad_line(content: bytes, reason: str) -> str:
    """Describe the first line that cannot be read by itself, found by halving the lines."""
    lines = content.splitlines()
    start, stop = 0, len(lines)
    while stop - start > 1:
        middle = (start + stop) // 2
        if _read_error(lines[start:middle]):
            stop = middle
        else:
            start = middle
    error = _read_error(lines[start:stop])
    if error is None:
        return f"expected lines of an svmlight file. Received: {reason}"
    text = lines[start].decode("utf-8", "replace")
    return (
        "expected <label>,<label> <feature>:<value> ... in each line. Received: "
        f"{text[:60]!r} in line {start + 1} ({error})."
    )


def _read_error(lines: list[bytes]) -> Exception | None:
    try:
        load_svmlight_file(io.BytesIO(b"\n".join(lines)), multilabel=True, zero_based=True)
    except (ValueError, OverflowError, IndexError) as error:
        return error
    return None
