"""Check an exported model: predict rows with it in a process of its own, and compare."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.export.examples import make_example
from pipeline.prediction import ModelFolder

TOLERANCE = 1e-5  # of probabilities
N_RANDOM_ROWS = 240
MISSING = (0.0, 0.1, 0.5)  # fractions of missing values, each in as many of the random rows
INPUT_EXAMPLE = "input_example.json"  # of MLflow


class ExportError(Exception):
    """An exported model that does not predict what the model predicts."""


def check_export(
    folder: Path, export_format: str, X: NDArray[np.float32], model: ModelFolder
) -> float:
    """Return the largest difference between the probabilities of an exported model and its model.

    Args:
        folder: Folder of the exported model; its own example is run there.
        export_format: Name of the format.
        X: Encoded rows.
        model: The model.

    Raises:
        ExportError: If it cannot be loaded, or a difference exceeds 1e-5.
    """
    with TemporaryDirectory() as name:
        rows, answer = Path(name, "rows.npy"), Path(name, "probabilities.npy")
        np.save(rows, X)
        code = make_example(export_format, f"np.load({str(rows)!r})")
        process = subprocess.run(
            [sys.executable, "-c", f"{code}np.save({str(answer)!r}, probabilities)\n"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise ExportError(f"The exported model cannot be loaded: {reason}")
        y_score = np.load(answer)
    expected = model.model.predict_proba(X)
    if y_score.shape != expected.shape:
        raise ExportError(f"The exported model predicts an array of shape {y_score.shape}.")
    difference = np.abs(y_score - expected)
    largest = float(difference.max(initial=0))
    if not largest <= TOLERANCE:
        n_rows = int((~(difference <= TOLERANCE)).any(axis=1).sum())
        raise ExportError(
            f"The exported model predicts other probabilities than the model, in {n_rows:,} of "
            f"{len(X):,} rows: they differ by up to {largest:.2g}, more than {TOLERANCE:g}."
        )
    return largest


def make_rows(folder: ModelFolder) -> NDArray[np.float32]:
    """Return encoded rows to check an export with, of shape (n_rows, n_features).

    They are those of the input example that MLflow has, random ones within the ranges of the
    training rows, of which a part has missing values, and one without any value. A category that
    the training rows do not have is encoded as a missing value.
    """
    schema, rng = folder.model.schema, np.random.default_rng(0)
    X = np.column_stack(
        [
            rng.integers(len(column.categories), size=N_RANDOM_ROWS)
            if column.categories
            else _draw_numbers(folder.training, column.name, rng) - column.offset
            for column in schema.columns
        ]
    ).astype(np.float32)
    part = len(X) // len(MISSING)
    for i, fraction in enumerate(MISSING):
        rows = X[i * part : (i + 1) * part]
        rows[rng.random(rows.shape) < fraction] = np.nan
    X[-1] = np.nan
    if folder.model.serving["requires_complete_rows"]:
        X[np.isnan(X) & schema.is_numeric] = 0
    if schema.derived:
        X = schema.encode(schema.decode(X))
    return np.concatenate([_read_example(folder), X])


def _draw_numbers(
    training: Mapping[str, Any], name: str, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw numbers between deciles of the training rows; normal ones if these are unknown."""
    edges = training.get("columns", {}).get(name, {}).get("edges")
    if not edges:
        return rng.normal(size=N_RANDOM_ROWS)
    low = rng.integers(max(1, len(edges) - 1), size=N_RANDOM_ROWS)
    high = np.minimum(low + 1, len(edges) - 1)
    return rng.uniform(np.take(edges, low), np.take(edges, high))


def _read_example(folder: ModelFolder) -> NDArray[np.float32]:
    """Return the encoded rows of the input example of MLflow, if there is one."""
    path = folder.path.parent.parent / INPUT_EXAMPLE
    if not path.is_file():
        return np.empty((0, folder.model.schema.n_encoded), np.float32)
    content = json.loads(path.read_text(encoding="utf-8"))
    return folder.model.encode(pd.DataFrame(content["data"], columns=content["columns"]))
