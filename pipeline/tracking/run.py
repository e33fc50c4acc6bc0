"""One run in MLflow, from its start to its end, whatever ends it."""

import json
import math
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import NoReturn

import mlflow
import numpy as np
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT as COMMIT
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from pipeline.config import Config, flatten, to_yaml
from pipeline.cv import Split
from pipeline.cv import digest as split_digest
from pipeline.dataset import Dataset, DataSummary
from pipeline.report import Origin, folds_table, labels_table, predictions_table, write_report
from pipeline.runner import Evaluation, FoldResult

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAX_PARAM = 6000  # characters of a value that MLflow takes
MAX_PARAMS = 100  # in one call
NO_MATTER = (
    "tracking.",
    "report.",
    "training.stack_size",
    "training.threads",
    "dataset.new_rows",
)  # to scores
MAX_SCHEMA = 1_000_000  # characters of a data set's columns; wider tables have them in the model
MAX_METRICS = 1000  # in one call
SECONDS_BETWEEN = 1.0  # calls that send the scores of folds
DIGESTS = ("config_digest", "data_digest", "split_digest")
VERSIONS = ("manyfold", "keras", "mlflow", "numpy", "scikit-learn", "tensorflow")


class TrackedRun:
    """Receives records and sends them to one MLflow run."""

    def __init__(self, run_id: str) -> None:
        """Take a run that is under way."""
        self.run_id = run_id
        self._client = mlflow.MlflowClient()
        self._summary: DataSummary  # of the data, since the start
        self._n_undefined = 0
        self._signum: int | None = None
        self._waiting: list[tuple[str, float, int]] = []
        self._sent = time.monotonic()

    def log_start(
        self, config: Config, dataset: Dataset, summary: DataSummary, splits: list[Split]
    ) -> None:
        """Log what is known before training: configuration, data and splits."""
        flat = flatten(config)
        cut = sorted(key for key, value in flat.items() if len(value) > MAX_PARAM)
        params = [Param(key, value[:MAX_PARAM]) for key, value in flat.items()]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self.run_id, params=params[start : start + MAX_PARAMS])
        tags = {"cut_params": ", ".join(cut)} if cut else {}
        asked = {key: value for key, value in flat.items() if not key.startswith(NO_MATTER)}
        tags["config_digest"] = sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
        tags["split_digest"] = split_digest(splits)
        tags["data_digest"] = dataset.digest
        for key, value in tags.items():
            self._client.set_tag(self.run_id, key, value)
        self._client.log_inputs(self.run_id, [_dataset_input(config, dataset, summary)])
        self._client.log_text(self.run_id, to_yaml(config), "config.yaml")
        self._client.log_dict(self.run_id, summary.as_dict(), "dataset.json")
        self._summary = summary
        if config.report.figures:
            from pipeline.dataset.figure import labels_figure

            self._client.log_figure(self.run_id, labels_figure(summary), "figures/labels.png")

    def log_fold(self, fold: FoldResult, step: int) -> None:
        """Log the scores of one fold; its step is its place among all, repeat after repeat."""
        self._waiting += [(f"fold/{name}", value, step) for name, value in fold.scores.items()]
        if time.monotonic() - self._sent > SECONDS_BETWEEN:
            self._log_metrics([])

    def log_evaluation(self, evaluation: Evaluation) -> None:
        """Log the summary, the curves, the tables and the report."""
        summary: list[tuple[str, float, int]] = []
        for name, metric in evaluation.summary.items():
            self._n_undefined += metric.n_left_out
            if metric.n_folds == 0:
                continue
            summary += [(f"{name}_mean", metric.mean, 0), (f"{name}_std", metric.std, 0)]
            if metric.ci:
                low, high = metric.ci
                summary += [(f"{name}_ci_low", low, 0), (f"{name}_ci_high", high, 0)]
        for name, attribute in (("epoch/loss", "loss"), ("epoch/val_loss", "test_loss")):
            mean = np.mean([getattr(fold, attribute) for fold in evaluation.folds], axis=0)
            summary += [(name, float(value), epoch) for epoch, value in enumerate(mean, start=1)]
        self._log_metrics(summary)
        self._log_metrics([("undefined_values", self._n_undefined, 0)])
        self._log_artifacts(evaluation)

    @property
    def interrupted(self) -> bool:
        """Whether a signal came; Python loses the exception if it is raised in a finalizer."""
        return self._signum is not None

    def interrupt(self, signum: int, frame: FrameType | None = None) -> NoReturn:
        """Remember the signal and raise what it stands for."""
        self._signum = signum
        raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(128 + signum)

    def raise_interrupt(self) -> None:
        """Raise again what an earlier signal stood for, if one came."""
        if self._signum is not None:
            self.interrupt(self._signum)

    def fail(self, message: str) -> None:
        """Keep why the run failed, where people look first and in full."""
        self._client.set_tag(self.run_id, "failure", message[:MAX_PARAM])
        self._client.log_text(self.run_id, traceback.format_exc(), "traceback.txt")

    def _log_metrics(self, values: list[tuple[str, float, int]]) -> None:
        """Send metrics; MLflow breaks on NaN and infinity, so those are counted instead."""
        now = int(time.time() * 1000)
        values = self._waiting + values
        self._waiting, self._sent = [], time.monotonic()
        finite = [
            Metric(key, value, now, step) for key, value, step in values if math.isfinite(value)
        ]
        self._n_undefined += len(values) - len(finite)
        for start in range(0, len(finite), MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=finite[start : start + MAX_METRICS])

    def _log_artifacts(self, evaluation: Evaluation) -> None:
        labels = labels_table(evaluation)
        tables = {"folds.json": folds_table(evaluation), "labels.json": labels}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, table in tables.items():
                split = table.to_dict(orient="split", index=False)
                (folder / file).write_text(json.dumps(_without_nan(split)))
            predictions_table(evaluation).to_parquet(folder / "predictions.parquet")
            write_report(folder, evaluation, self._summary, self._origin(evaluation), labels)
            self._client.log_artifacts(self.run_id, name)
        shown = json.dumps([{"path": file, "type": "table"} for file in tables])
        self._client.set_tag(self.run_id, MLFLOW_LOGGED_ARTIFACTS, shown)

    def _origin(self, evaluation: Evaluation) -> Origin:
        run = self._client.get_run(self.run_id)
        tags = run.data.tags
        details = {f"version.{package}": tags[f"version.{package}"] for package in VERSIONS}
        details |= {digest: tags[digest] for digest in DIGESTS}
        if COMMIT in tags:
            details["commit"] = tags[COMMIT]
        return Origin(
            self.run_id,
            run.info.run_name,
            evaluation.config.tracking.experiment_name,
            datetime.fromtimestamp(run.info.start_time / 1000).astimezone(),
            details,
        )


@contextmanager
def track(
    experiment_id: str, run_name: str, tags: dict[str, str], sweep: str | None = None
) -> Iterator[TrackedRun]:
    """Open a run and end it: FINISHED, FAILED after an exception, KILLED after a signal.

    Args:
        experiment_id: Where it belongs.
        run_name: Shown in the UI.
        tags: More tags than every run has.
        sweep: Name of the sweep whose parent run it goes under, or None.
    """
    parent = _sweep_run(experiment_id, sweep) if sweep else None
    versions = {f"version.{package}": version(package) for package in VERSIONS}
    commit = _git_commit()
    source = {COMMIT: commit} if commit else {}
    active = mlflow.start_run(
        experiment_id=experiment_id,
        run_name=run_name,
        parent_run_id=parent,
        tags={**versions, **source, **tags, **({"sweep": sweep} if sweep else {})},
    )
    run = TrackedRun(active.info.run_id)
    status = "FINISHED"
    previous = {signum: signal.signal(signum, run.interrupt) for signum in SIGNALS}
    try:
        yield run
    except Exception as error:
        status = "FAILED"
        run.fail(f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)
        if parent:
            mlflow.MlflowClient().set_terminated(parent)  # so far; the next job moves its end
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _sweep_run(experiment_id: str, sweep: str) -> str:
    """Return the parent run of a sweep; its first job makes it."""
    client = mlflow.MlflowClient()
    mine = f"tags.sweep = '{sweep}' AND tags.is_sweep = 'true'"
    found = client.search_runs([experiment_id], mine, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {"sweep": sweep, "is_sweep": "true"}
    run = client.create_run(experiment_id, run_name=f"sweep {sweep}", tags=tags)
    return str(run.info.run_id)


def _dataset_input(config: Config, dataset: Dataset, summary: DataSummary) -> DatasetInput:
    columns: list[ColSpec | TensorSpec] = [
        ColSpec("double", name) for name in dataset.feature_names
    ]
    columns += [ColSpec("long", name) for name in dataset.label_names]
    profile = {
        "n_samples": summary.n_samples,
        "n_features": summary.n_features,
        "n_labels": summary.n_labels,
        "label_counts": dict(zip(summary.label_names, summary.label_counts.tolist(), strict=True)),
        "cardinality": summary.cardinality,
    }
    schema = json.dumps({"mlflow_colspec": Schema(columns).to_dict()})
    path = getattr(config.dataset, "path", None)
    entity = DatasetEntity(
        name=dataset.name,
        digest=dataset.digest,
        source_type="local" if path else "code",
        source=json.dumps({"uri": str(Path(path).absolute())} if path else {"tags": {}}),
        schema=schema if len(schema) <= MAX_SCHEMA else None,
        profile=json.dumps(profile),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "cross-validation")])


def _git_commit() -> str | None:
    """Return the commit of the checkout that runs, marked where it has been changed since."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        tracked = subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__], capture_output=True
        )
        if tracked.returncode:
            return None
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no commit yet: the versions say what ran
    return f"{commit}-dirty" if changed else commit


def _without_nan(table: dict[str, list[object]]) -> dict[str, list[object]]:
    def clean(value: object) -> object:
        if isinstance(value, list):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {key: [clean(item) for item in values] for key, values in table.items()}
