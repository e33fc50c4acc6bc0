"""Find the folder of a model in the store: of a run, a sweep's best run, or a version."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import get_model_name_and_version

from pipeline.errors import UserError
from pipeline.scoring.held_out import StoredPredictions
from pipeline.tracking.artifact_reader import read_held_out
from pipeline.tracking.final_models import find_final_model
from pipeline.tracking.run_reader import RunReader, RunRecord
from pipeline.tracking.store import Store

REGISTERED, OF_RUN = "models:/", "runs:/"
FILE = "file://"


@dataclass(frozen=True)
class StoredModel:
    """A model of the store.

    Attributes:
        folder: The folder that MLflow made of it.
        run: The run that trained it; None if it is unknown.
    """

    folder: Path
    run: RunRecord | None

    def read_held_out(self) -> StoredPredictions:
        """Read the held-out predictions of the run."""
        assert self.run
        return read_held_out(self.run.run_id)


@contextmanager
def open_stored_model(store: Store, name: str) -> Iterator[StoredModel]:
    """Yield a model of the store, which is only read; a remote one is downloaded for the block.

    Args:
        store: The store.
        name: A run or a sweep (name, id, start of the id), `models:/name@alias`, `models:/name/3`,
            `models:/m-...` or `runs:/id/model`.

    Raises:
        UserError: If there is no such model.
    """
    reader = RunReader(store)
    try:
        uri, run = _find_artifacts(reader, name)
        if uri.startswith(FILE) or "://" not in uri:
            yield StoredModel(Path(mlflow.artifacts.download_artifacts(uri)), run)
            return
        with TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            yield StoredModel(Path(path), run)
    except MlflowException as error:
        raise UserError(
            f"Expected a model of the store. Received: {name!r} ({str(error).splitlines()[0]})"
        ) from error


def _find_artifacts(reader: RunReader, name: str) -> tuple[str, RunRecord | None]:
    """Return the URI of a model's artifacts, and its run."""
    client = mlflow.MlflowClient()
    if name.startswith(OF_RUN):
        run_id, _, _ = name.removeprefix(OF_RUN).partition("/")
        name = run_id
    if not name.startswith(REGISTERED):
        final = find_final_model(reader, name)
        return str(client.get_logged_model(final.model_id).artifact_location), final.run
    model_id = name.removeprefix(REGISTERED)
    if model_id.startswith("m-") and "/" not in model_id and "@" not in model_id:
        stored = client.get_logged_model(model_id)
        return str(stored.artifact_location), reader.one(str(stored.source_run_id))
    registered, number = get_model_name_and_version(client, name)  # type: ignore[no-untyped-call]
    version = client.get_model_version(registered, number)
    uri = client.get_model_version_download_uri(registered, number)
    if uri.startswith(REGISTERED):  # of the logged model
        uri = str(client.get_logged_model(uri.removeprefix(REGISTERED)).artifact_location)
    return uri, reader.one(str(version.run_id)) if version.run_id else None
