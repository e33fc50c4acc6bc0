"""Read files that runs of the store in use have logged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient


def has_artifact(run_id: str, name: str) -> bool:
    """Return whether a run of the store in use logged a file of this name at the top level."""
    return name in {file.path for file in MlflowClient().list_artifacts(run_id)}


@contextmanager
def open_artifact(run_id: str, name: str) -> Iterator[Path]:
    """Yield the path of a file that a run of the store in use logged; it exists for the block."""
    with TemporaryDirectory() as folder:
        yield Path(MlflowClient().download_artifacts(run_id, name, folder))
