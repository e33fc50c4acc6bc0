"""Read files that runs of the store in use have logged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.scoring.feature_importance import IMPORTANCE_FILE, FeatureImportance
from pipeline.scoring.held_out import PREDICTIONS, StoredPredictions, read_predictions


def has_artifact(run_id: str, name: str) -> bool:
    """Return whether a run of the store in use logged a file of this name at the top level."""
    return name in {file.path for file in MlflowClient().list_artifacts(run_id)}


@contextmanager
def open_artifact(run_id: str, name: str) -> Iterator[Path]:
    """Yield the path of a file that a run of the store in use logged; it exists for the block."""
    with TemporaryDirectory() as folder:
        yield Path(MlflowClient().download_artifacts(run_id, name, folder))


def read_importance(run_id: str) -> FeatureImportance | None:
    """Read the importance of features of a run of the store in use; None if it has none."""
    if not has_artifact(run_id, IMPORTANCE_FILE):
        return None
    with open_artifact(run_id, IMPORTANCE_FILE) as path:
        return FeatureImportance.from_table(pd.read_parquet(path))


def read_held_out(run_id: str) -> StoredPredictions:
    """Read the held-out predictions of a run of the store in use.

    Raises:
        UserError: If the run has none.
    """
    try:
        with open_artifact(run_id, PREDICTIONS) as path:
            return read_predictions(path)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"Expected a run with the file {PREDICTIONS}. Received: {run_id} ({error})"
        ) from error
