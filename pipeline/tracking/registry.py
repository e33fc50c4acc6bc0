"""A run's final model, put into MLflow's registry under a name."""

from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO

import mlflow
from mlflow.entities import Run

from pipeline.errors import UserError
from pipeline.tracking.evidence import Archive
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


def promote(store: Store, asked: str, name: str | None) -> Promoted:
    """Register the final model of a run, or of the best run of a sweep, and call it the champion.

    Args:
        store: Where the run is.
        asked: Name of the run or of the sweep, its id, or the start of its id.
        name: Of the registered model; None: that of the data set.

    Raises:
        UserError: If there is no such run, or it has no final model.
    """
    archive = Archive(store)
    mlflow.set_tracking_uri(store.uri)
    client = mlflow.MlflowClient()
    run = archive.one(asked)
    if "is_sweep" in run.data.tags:
        best = run.data.tags.get(BEST)
        if best is None:
            raise UserError(
                "Expected a sweep with a finished job. Received: "
                f"{run.info.run_id}, which has none."
            )
        run = archive.one(best)
    run_id = run.info.run_id
    mine = f"source_run_id = '{run_id}'"
    models = client.search_logged_models([run.info.experiment_id], filter_string=mine)
    if run.info.status != "FINISHED" or not models:
        why = run.data.tags.get("failure") or run.data.tags.get("stopped_because")
        raise UserError(
            f"Expected a finished run with a final model. Received: {run_id}, {run.info.status}, "
            f"with {len(models)} models{f': {why}' if why else '.'}"
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
