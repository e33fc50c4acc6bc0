"""Multi-label svmlight files: `<label>,<label> <feature>:<value> ...`, a row a line."""

import io
import os
from pathlib import Path

import numpy as np

from pipeline.config import SvmlightConfig
from pipeline.dataset.cache import cached
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.features import narrowed
from pipeline.dataset.files import decode, read_bytes, readable
from pipeline.errors import UserError


def read_svmlight(config: SvmlightConfig) -> Dataset:
    """Return the table of an svmlight file; feature 3 is named x3, label 3 is named y3.

    What is left out of a row is 0; blank lines are no rows. Labels are whole numbers, as many as
    the file shows.

    Raises:
        UserError: If a line cannot be read, or the dense table would not fit into memory.

    References:
        `sklearn.datasets.load_svmlight_file`.
    """
    path = readable(config.path)
    content = read_bytes(path)
    name = config.name or path.name.removesuffix(".gz").partition(".")[0] or path.name
    shape = repr((config.n_features, config.zero_based)).encode()
    return cached(
        "svmlight", (content, shape), name, str(path), lambda: _parse(config, name, path, content)
    )


def _parse(config: SvmlightConfig, name: str, path: Path, content: bytes) -> Dataset:
    from sklearn.datasets import load_svmlight_file

    decode(path, content)  # refuses what is no text
    zero_based = "auto" if config.zero_based is None else config.zero_based
    try:
        sparse, labels = load_svmlight_file(
            io.BytesIO(content),
            n_features=config.n_features,
            multilabel=True,
            zero_based=zero_based,
        )
    except (ValueError, OverflowError, IndexError) as error:
        raise UserError(f"{path}: {_first_bad_line(content, str(error))}") from error
    _check_size(str(path), sparse.shape)
    known = sorted({label for row in labels for label in row})
    place = {label: j for j, label in enumerate(known)}
    y = np.zeros((len(labels), len(known)), dtype=np.int8)
    for row, found in enumerate(labels):
        y[row, [place[label] for label in found]] = 1
    if any(label != int(label) for label in known):
        fraction = next(label for label in known if label != int(label))
        row = int(y[:, place[fraction]].argmax())
        raise UserError(
            f"{path}: expected labels that are whole numbers. Received: {fraction} in row {row} "
            "(the first is 0)."
        )
    first = 0 if zero_based is True or (zero_based == "auto" and _has_zero(content)) else 1
    X = sparse.toarray()
    return Dataset(
        name=name,
        X=narrowed(X) if X.size else X,
        y=y,
        feature_names=tuple(f"x{j + first}" for j in range(X.shape[1])),
        label_names=tuple(f"y{int(label)}" for label in known),
        source=str(path),
    )


def _has_zero(content: bytes) -> bool:
    return b" 0:" in content or b"\t0:" in content


def _first_bad_line(content: bytes, reason: str) -> str:
    """Return what is wrong with the first line that cannot be read alone."""
    from sklearn.datasets import load_svmlight_file

    for number, line in enumerate(content.splitlines(), start=1):
        try:
            load_svmlight_file(io.BytesIO(line), multilabel=True, zero_based=True)
        except (ValueError, OverflowError, IndexError) as error:
            text = line.decode("utf-8", "replace")
            return (
                "expected <label>,<label> <feature>:<value> ... in each line. Received: "
                f"{text[:60]!r} in line {number} ({error})."
            )
    return f"expected lines of an svmlight file. Received: {reason}"


def _check_size(source: str, shape: tuple[int, int]) -> None:
    needed = 8 * shape[0] * shape[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 2 * needed > memory:
        raise UserError(
            f"{source}: expected a table that fits into memory twice. Received: {shape[0]} x "
            f"{shape[1]}, {needed / 2**30:.0f} GiB, on a machine with {memory / 2**30:.0f} GiB."
        )
