"""Find the final model of a run, and log a copy of it that decides by other thresholds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME

from pipeline.errors import UserError
from pipeline.model.saved_model import change_thresholds
from pipeline.prediction import ChosenThresholds, find_model_files
from pipeline.runtime import uninterrupted
from pipeline.tracking.run_reader import FINISHED, RunReader, RunRecord
from pipeline.tracking.store import STOPPED_BECAUSE
from pipeline.tracking.sweep import BEST

# Copies have another name than final models, as `runs:/ID/model` means the model of that name.
COPY_NAME = "model_with_thresholds"
DIGEST = "thresholds_digest"  # tags of a copy
CHOICE = "thresholds_tuned_for"


@dataclass(frozen=True)
class FinalModel:
    """The final model of a finished run, or a copy of it with other thresholds.

    Attributes:
        run: The run.
        model_id: Id of the logged model.
    """

    run: RunRecord
    model_id: str


def find_run(reader: RunReader, name: str) -> RunRecord:
    """Return a run, or the best run of a sweep.

    Args:
        reader: Reader of the store in use.
        name: Name of the run or sweep, its id, or the start of its id.

    Raises:
        UserError: If there is no such run, or the sweep has no best run.
    """
    run = reader.one(name)
    if not run.is_sweep:
        return run
    if BEST not in run.tags:
        raise UserError(
            f"Expected a sweep with a best run. Received: {run.run_id}, of which no job has "
            "finished, or which has several data sets. Name one of its runs: manyfold leaderboard "
            f"{run.run_id} lists them."
        )
    return reader.one(run.tags[BEST])


def find_final_model(reader: RunReader, run_name: str) -> FinalModel:
    """Return the final model of a run, or of the best run of a sweep.

    Args:
        reader: Reader of the store in use.
        run_name: Name of the run or sweep, its id, or the start of its id.

    Raises:
        UserError: If there is no such run, or it has no final model.
    """
    run = find_run(reader, run_name)
    models = [model for model in _logged_models(run) if DIGEST not in model.tags]
    if run.status != FINISHED or not models:
        reason = run.tags.get("failure") or run.tags.get(STOPPED_BECAUSE)
        raise UserError(
            f"Expected a finished run with a final model. Received: {run.run_id}, {run.status}, "
            f"with {len(models)} models{f': {reason}' if reason else '.'}"
        )
    return FinalModel(run, str(models[0].model_id))


def find_artifacts(model_id: str) -> str:
    """Return the URI of the artifacts of a logged model; MLflow takes no path behind its own."""
    return str(mlflow.MlflowClient().get_logged_model(model_id).artifact_location)


def find_copy(model: FinalModel, thresholds: ChosenThresholds) -> FinalModel | None:
    """Return the copy of a final model that has these thresholds, or None."""
    tags = _tags(thresholds)
    for copy in _logged_models(model.run):
        if str(copy.status) == "READY" and tags.items() <= copy.tags.items():
            return FinalModel(model.run, str(copy.model_id))
    return None


@uninterrupted()
def log_copy(
    model: FinalModel,
    thresholds: ChosenThresholds,
    predicted_label_rates: Mapping[str, float] | None,
    note: str,
) -> FinalModel:
    """Log a copy of a final model with other thresholds; the model stays as it is.

    Args:
        model: The model.
        thresholds: The thresholds.
        predicted_label_rates: Rates of the labels in the held-out predictions at these thresholds;
            None if unknown.
        note: How the thresholds were chosen, for the model card.
    """
    client = mlflow.MlflowClient()
    copy = client.create_logged_model(
        model.run.experiment_id,
        name=COPY_NAME,
        source_run_id=model.run.run_id,
        tags=_tags(thresholds),
    )
    try:
        with TemporaryDirectory() as name:
            uri = find_artifacts(model.model_id)
            target = Path(mlflow.artifacts.download_artifacts(uri, dst_path=name))
            assert target.is_relative_to(name)
            files = find_model_files(target)
            assert files
            change_thresholds(files, thresholds.values, predicted_label_rates, note)
            description = Model.load(str(target))
            description.artifact_path = copy.artifact_location
            description.model_id = description.model_uuid = copy.model_id
            description.metadata = {**(description.metadata or {}), "thresholds": note}
            description.save(str(target / MLMODEL_FILE_NAME))
            client.log_model_artifacts(copy.model_id, str(target))
        client.finalize_logged_model(copy.model_id, "READY")
    except BaseException:
        client.delete_logged_model(copy.model_id)
        raise
    return replace(model, model_id=str(copy.model_id))


def read_thresholds(model_id: str) -> ChosenThresholds:
    """Read the labels and thresholds of a logged model.

    Raises:
        UserError: If it is no model of Manyfold.
    """
    path = "artifacts/model/schema.json"
    try:
        with TemporaryDirectory() as folder:
            uri = f"{find_artifacts(model_id)}/{path}"
            file = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            serving = json.loads(Path(file).read_text("utf-8"))
    except (MlflowException, OSError) as error:
        raise UserError(
            f"--threshold: expected a model of Manyfold, with {path}. Received: {model_id} "
            f"({error})"
        ) from error
    return ChosenThresholds(tuple(serving["label_names"]), np.array(serving["threshold"]))


def read_choice(model_id: str) -> ChosenThresholds | None:
    """Return the thresholds of a copy; None for a final model, or one of another store."""
    try:
        tags = mlflow.MlflowClient().get_logged_model(model_id).tags
        if DIGEST not in tags:
            return None
        thresholds = read_thresholds(model_id)
    except (MlflowException, UserError):
        return None
    metric, _, kind = tags[CHOICE].partition("/")
    if not metric:
        return thresholds
    return replace(thresholds, metric=metric, kind="global" if kind == "global" else "per_label")


def _tags(thresholds: ChosenThresholds) -> dict[str, str]:
    """Return the tags of a copy, by which it is recognized."""
    values = json.dumps(thresholds.values.tolist())
    choice = f"{thresholds.metric}/{thresholds.kind}" if thresholds.metric else ""
    return {DIGEST: sha256(values.encode()).hexdigest()[:16], CHOICE: choice}


def _logged_models(run: RunRecord) -> list[LoggedModel]:
    condition = f"source_run_id = '{run.run_id}'"
    models = mlflow.MlflowClient().search_logged_models(
        [run.experiment_id], filter_string=condition
    )
    return list(models)
