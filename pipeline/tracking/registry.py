"""A run's final model, put into MLflow's registry under a name."""

from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking.store import Store
from pipeline.tracking.sweep import BEST

CHAMPION = "champion"  # the alias of the version that was promoted last


@dataclass(frozen=True)
class Promoted:
    """A version of a registered model.

    Attributes:
        name: Of the registered model.
        version: Its number.
        run_id: Of the run that trained it.
        uri: Under which `mlflow.pyfunc.load_model` finds it, until another is promoted.
    """

    name: str
    version: str
    run_id: str
    uri: str


def promote(store: Store, run_id: str, name: str | None) -> Promoted:
    """Register the final model of a run, or of the best run of a sweep, and call it the champion.

    Args:
        store: Where the run is.
        run_id: Of the run, or of the parent run of a sweep.
        name: Of the registered model; None: that of the data set.

    Raises:
        UserError: If there is no such run, or it has no final model.
    """
    mlflow.set_tracking_uri(store.uri)
    client = mlflow.MlflowClient()
    run = _find(client, store, run_id)
    if BEST in run.data.tags:
        run = _find(client, store, run.data.tags[BEST])
    run_id = run.info.run_id
    mine = f"source_run_id = '{run_id}'"
    models = client.search_logged_models([run.info.experiment_id], filter_string=mine)
    if run.info.status != "FINISHED" or not models:
        raise UserError(
            f"Expected a finished run with a final model. Received: {run_id}, {run.info.status}, "
            f"with {len(models)} models."
        )
    used = run.inputs.dataset_inputs if run.inputs else []
    name = name or (used[0].dataset.name if used else run.info.run_name)
    known = client.search_model_versions(f"run_id = '{run_id}'")
    version = next((it.version for it in known if it.name == name), None)
    if version is None:
        with redirect_stderr(StringIO()):  # it tells of its steps there
            made = mlflow.register_model(f"models:/{models[0].model_id}", name)
        version = made.version
        client.update_model_version(name, version, _description(run))
    client.set_registered_model_alias(name, CHAMPION, version)
    return Promoted(name, str(version), run_id, f"models:/{name}@{CHAMPION}")


def _find(client: mlflow.MlflowClient, store: Store, run_id: str) -> Run:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"Expected a run in {store.uri}. Received: {run_id!r} ({error})") from error


def _description(run: Run) -> str:
    """Return what the registry is to say of the model: how good it is, and on what."""
    tags, metrics = run.data.tags, run.data.metrics
    headline = tags.get("headline", "")
    told = [f"{of}: {_get(metrics, f'{headline}_{of}')}" for of in ("mean", "std")]
    told += [f"95% interval: {_get(metrics, f'{headline}_ci_low')} to "]
    told[-1] += _get(metrics, f"{headline}_ci_high")
    return f"{headline} ({', '.join(told)}); run {run.info.run_id}; data {tags['data_digest']}"


def _get(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "undefined"
