"""Environment variables of MLflow that name a store, experiment or run, or change what is logged.

docs/environment.md lists them.
"""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.errors import TRACKING_URI, UserError, mask

if TYPE_CHECKING:
    from pipeline.config import TrackingConfig

EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
REGISTRY_URI = "MLFLOW_REGISTRY_URI"
SYSTEM_METRICS = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
WORKSPACE = "MLFLOW_WORKSPACE"
OWN_RUNS = "Manyfold makes a run of its own for each job; resume=true continues an interrupted one"
OWN_MODELS = "each run logs a model of its own"
OF_SERVERS = "it is a setting of servers"
IGNORED = {
    "MLFLOW_RUN_ID": OWN_RUNS,
    "_MLFLOW_ENABLE_SGC_RUN_RESUMPTION_FOR_DATABRICKS_JOBS": OWN_RUNS,
    "MLFLOW_EXPERIMENT_ID": "name the experiment: tracking.experiment_name=...",
    "MLFLOW_ACTIVE_MODEL_ID": OWN_MODELS,
    "_MLFLOW_ACTIVE_MODEL_ID": OWN_MODELS,
    "MLFLOW_RUN_CONTEXT": "the tags of a run are those of Manyfold",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "scores are sent at once, so that runs can be continued",
    "MLFLOW_ENABLE_WORKSPACES": OF_SERVERS,
    "MLFLOW_WORKSPACE_STORE_URI": OF_SERVERS,
    "_MLFLOW_SERVER_ARTIFACT_ROOT": OF_SERVERS,
}
"""Variables that would change runs against the configuration, and what holds instead."""
OF_THE_UI = (
    "MLFLOW_BACKEND_STORE_URI", "MLFLOW_READ_REPLICA_BACKEND_STORE_URI", "MLFLOW_HOST",
    "MLFLOW_REGISTRY_STORE_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT", "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_ARTIFACTS_ONLY", "MLFLOW_SERVE_ARTIFACTS", "MLFLOW_STATIC_PREFIX", "MLFLOW_PORT",
    "MLFLOW_GUNICORN_OPTS", "MLFLOW_UVICORN_OPTS", "MLFLOW_WORKERS", "MLFLOW_APP_NAME",
    "MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_TRACE_ARCHIVAL_CONFIG", WORKSPACE,
)  # fmt: skip
"""Variables of a server elsewhere, which the server of `manyfold ui` must not inherit."""
FALSE = ("", "0", "false")
TRUE = ("1", "true")

_ignored: dict[str, str] = {}  # values by name


def ignore_variables() -> None:
    """Remove the variables from the environment that MLflow must not read."""
    for name in (*IGNORED, EXPERIMENT_NAME, REGISTRY_URI):
        value = os.environ.get(name, "")
        if name in IGNORED and name in os.environ:
            del os.environ[name]
            if value and not ("ENABLE" in name and value.lower() in FALSE):
                _ignored[name] = value
        elif not value:
            os.environ.pop(name, None)  # empty: as if it were not set


def check_variables() -> None:
    """Check the variables that decide what is logged.

    Raises:
        UserError: If a value is invalid, or a package is missing that a variable needs.
    """
    value = os.environ.get(SYSTEM_METRICS, "")
    if value.lower() not in (*FALSE, *TRUE):
        raise UserError(f"{SYSTEM_METRICS}: expected true or false. Received: {value}")
    if not value:
        os.environ.pop(SYSTEM_METRICS, None)
    elif value.lower() in TRUE and find_spec("psutil") is None:
        raise UserError(
            f"{SYSTEM_METRICS}: psutil is not installed. Install it: pip install psutil . Or unset "
            "the variable."
        )


def describe_variables(tracking: "TrackingConfig") -> list[str]:
    """Return a sentence for each variable that the configuration leaves open or that is ignored."""
    uri, experiment, workspace = map(os.environ.get, (TRACKING_URI, EXPERIMENT_NAME, WORKSPACE))
    lines = []
    if uri and not tracking.uri:
        lines.append(f"MLflow store of {TRACKING_URI}: {mask(uri)}")
    if experiment == tracking.experiment_name:
        lines.append(f"Experiment of {EXPERIMENT_NAME}: {experiment}")
    if workspace:
        lines.append(f"Workspace of {WORKSPACE}: {workspace}")
    if os.environ.get(SYSTEM_METRICS, "").lower() in TRUE:
        lines.append(f"{SYSTEM_METRICS} adds the metrics system/...")
    return lines + [
        f"{name}={mask(value)} is ignored: {IGNORED[name]}." for name, value in _ignored.items()
    ]


def registry_uri() -> str | None:
    """Return the URI of a model registry other than the store, which no setting names."""
    return os.environ.get(REGISTRY_URI)


def server_variables() -> dict[str, str]:
    """Return the environment for the server of `manyfold ui`."""
    return {name: value for name, value in os.environ.items() if name not in OF_THE_UI}
