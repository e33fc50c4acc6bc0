"""Read multi-label svmlight files: one row per line, `<label>,<label> <feature>:<value> ...`."""

import io

import numpy as np
from sklearn.datasets import load_svmlight_file

from pipeline.config import SvmlightConfig
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.files import check_fits_memory, decode, find_file, read_bytes
from pipeline.dataset.schema_inference import encode_matrix
from pipeline.errors import UserError
from pipeline.preprocessing import Column


def load(config: SvmlightConfig) -> Dataset:
    """Read an svmlight file; feature 3 is named x3, label 3 is named y3.

    A feature that a row omits is 0; blank lines are no rows. Labels are the distinct whole numbers
    in the file.

    Raises:
        UserError: If a line cannot be read, or the dense table would not fit into memory.

    References:
        `sklearn.datasets.load_svmlight_file`.
    """
    path = find_file(config.path)
    content = read_bytes(path)
    decode(path, content)  # rejects binary files
    zero_based = "auto" if config.zero_based is None else config.zero_based
    try:
        sparse, row_labels = load_svmlight_file(
            io.BytesIO(content),
            n_features=config.n_features,
            multilabel=True,
            zero_based=zero_based,
        )
    except (ValueError, OverflowError, IndexError) as error:
        raise UserError(f"{path}: {_find_bad_line(content, str(error))}") from error
    check_fits_memory(str(path), sparse.shape, 12)  # float64 and float32
    labels = sorted({label for labels in row_labels for label in labels})
    column_index = {label: j for j, label in enumerate(labels)}
    check_fits_memory(str(path), (len(row_labels), len(labels)), 1)
    y = np.zeros((len(row_labels), len(labels)), dtype=np.int8)
    for row, labels_of_row in enumerate(row_labels):
        y[row, [column_index[label] for label in labels_of_row]] = 1
    for label in labels:
        if label != int(label):
            row = int(y[:, column_index[label]].argmax())
            raise UserError(
                f"{path}: expected labels that are whole numbers. Received: {label} in row {row} "
                "(the first is 0)."
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
    )


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
