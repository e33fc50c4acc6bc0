"""Read multi-label svmlight files: one row per line, `<label>,<label> <feature>:<value> ...`."""

import io
import itertools
import re
import shlex
from array import array
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from pipeline.config import SvmlightConfig
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import LEAVE_OUT, check_fits_memory, decode, find_file
from pipeline.dataset.matrix import encode_sparse_matrix
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


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a file.

    Attributes:
        X: Features as a CSR matrix of shape (n_samples, n_features).
        labels: Distinct labels, ascending, of shape (n_labels,).
        row: Row of each label that a line lists, of shape (n_listed,).
        column: Index of it in `labels`, of the same shape.
    """

    X: Any
    labels: NDArray[np.float64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


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
        rows = _parse_lines(
            content,
            n_features=None if header else config.n_features,
            zero_based=True if header else zero_based,
        )
    except (ValueError, OverflowError, IndexError) as error:
        raise UserError(f"{path}: {_find_bad_line(content, str(error))}") from error
    X, labels = rows.X, rows.labels
    if header:
        zero_based = _check_header(config, path, header, rows)
        X = X if zero_based else X[:, 1:]
        X.resize(X.shape[0], header.n_features)
    check_fits_memory(str(path), X.shape, 4)
    check_fits_memory(str(path), (X.shape[0], len(labels)), 1, LEAVE_OUT)
    for column, label in enumerate(labels.tolist()):
        if not (label.is_integer() and abs(label) < _EXACT_FLOAT64):
            row = int(rows.row[rows.column == column].min())
            raise UserError(
                f"{path}: expected labels that are whole numbers up to 2**53. Received: {label} in "
                f"row {row} (the first is 0)."
            )
    y = np.zeros((X.shape[0], len(labels)), dtype=np.int8)
    y[rows.row, rows.column] = 1
    has_zero = zero_based == "auto" and (b" 0:" in content or b"\t0:" in content)
    first = 0 if zero_based is True or has_zero else 1
    columns = [Column(f"x{j + first}") for j in range(X.shape[1])]
    encoded, schema = encode_sparse_matrix(str(path), columns, X)
    return Dataset(
        name=config.name or path.name.removesuffix(".gz").partition(".")[0] or path.name,
        X=encoded,
        y=y,
        schema=schema,
        label_names=tuple(f"y{int(label)}" for label in labels),
        source=str(path),
        warnings=_find_opposites(path, labels, y),
    )


def _parse_lines(content: bytes, *, n_features: int | None, zero_based: bool | str) -> _Rows:
    """Parse the lines as scikit-learn does, which needs five times as long for many labels.

    Raises:
        ValueError: If a line cannot be read; OverflowError and IndexError likewise.
    """
    code_of: defaultdict[bytes, int] = defaultdict(itertools.count().__next__)  # text of a label
    lines, codes, n_listed = [], array("q"), []
    for line in content.split(b"\n"):
        parts = line.partition(b"#")[0].split(None, 1)
        if not parts:
            continue
        listed = [] if b":" in parts[0] else parts.pop(0).split(b",")
        codes.extend(map(code_of.__getitem__, listed))
        n_listed.append(len(listed))
        lines.append(b" ".join([b"0", *parts]))
    features = io.BytesIO(b"\n".join(lines))
    X, _ = load_svmlight_file(features, n_features=n_features, zero_based=zero_based)
    labels, column_of = np.unique([float(text) for text in code_of], return_inverse=True)
    row = np.repeat(np.arange(len(lines)), n_listed)
    return _Rows(X, labels, row, column_of[np.array(codes, dtype=np.int64)])


def _find_opposites(
    path: Path, labels: NDArray[np.float64], y: NDArray[np.int8]
) -> tuple[str, ...]:
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


def _check_header(config: SvmlightConfig, path: Path, header: _Header, rows: _Rows) -> bool:
    """Check the first line, and return whether feature indices start at 0.

    They do, as in the files of the repository, unless the last index is the number of features.

    Args:
        config: Settings.
        path: Path of the file.
        header: Its first line.
        rows: Its rows, with features as if they started at 0.
    """
    n_samples, largest = rows.X.shape[0], rows.X.shape[1] - 1
    zero_based = config.zero_based
    if zero_based is None:
        zero_based = largest < header.n_features or bool((rows.X.indices == 0).any())
    expected, received = "", ""
    if config.n_features not in (None, header.n_features):
        expected, received = "features", f"dataset.n_features={config.n_features}"
    elif largest >= header.n_features + (not zero_based):
        expected, received = "features", f"one of index {largest}, from {int(not zero_based)} on"
    elif n_samples != header.n_samples:
        expected, received = "samples", f"{n_samples} rows. Is the file complete?"
    elif rows.labels.max(initial=0) >= header.n_labels + (0 not in rows.labels):
        expected, received = "labels", f"a label {rows.labels.max():g}"
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
