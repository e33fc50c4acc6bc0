"""What a run that goes on holds already."""

import json
import math
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT as COMMIT
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from pipeline.config import Config, flatten, to_yaml
from pipeline.dataset import Dataset, DataSummary
from pipeline.errors import UserError
from pipeline.evaluation import Decision, Race, describe_decision, versions
from pipeline.evaluation.evaluator import Evaluation, FoldResult
from pipeline.report.artifacts import (
    RunInfo,
    folds_table,
    labels_table,
    predictions_table,
    write_report,
)
from pipeline.tracking.heartbeat import PROCESS, send_heartbeats, this_process
from pipeline.tracking.store import MAX_METRICS, MAX_NAME, MAX_PARAM, MAX_PARAMS, MAX_TAG, STOPPED
from pipeline.training import mean_curve


@dataclass(frozen=True)
class AlreadyLogged:
    """What a run holds already.

    MLflow takes no other value for a parameter and keeps all values of a metric, so that neither is
    sent twice.
    """

    params: frozenset[str] = frozenset()
    steps: frozenset[tuple[str, int]] = frozenset()


def already_logged(client: mlflow.MlflowClient, run_id: str) -> AlreadyLogged:
    """Return what an earlier attempt logged, and remove the models that it may have left."""
    run = client.get_run(run_id)
    steps = {
        (key, metric.step)
        for key in run.data.metrics
        for metric in client.get_metric_history(run_id, key)
    }
    of_run = f"source_run_id = '{run_id}'"
    for model in client.search_logged_models([run.info.experiment_id], filter_string=of_run):
        client.delete_logged_model(model.model_id)
    return AlreadyLogged(frozenset(run.data.params), frozenset(steps))


MAX_SCHEMA = 1_000_000  # characters of a data set's columns; wider tables have them in the model


def dataset_input(config: Config, dataset: Dataset, summary: DataSummary) -> DatasetInput:
    """Return the data set with its digest over all values, its columns and its profile."""
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


def log_dataset(client: MlflowClient, run_id: str, described: DatasetInput) -> None:
    """Say in a run what data it is of.

    Of jobs that bring the same new data set at the same moment, MLflow lists it for one and fails
    for the others; a moment later it knows the data set.
    """
    try:
        client.log_inputs(run_id, [described])
    except MlflowException:
        client.log_inputs(run_id, [described])


SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS_BETWEEN = 1.0  # calls that send the scores of folds
DIGESTS = ("config_digest", "data_digest", "split_digest")


class TrackedRun:
    """Receives records and sends them to one MLflow run.

    Attributes:
        run_id: Of that run.
        seconds_before: What earlier attempts at it took.
    """

    def __init__(self, run_id: str, continued: bool = False) -> None:
        """Take a run that is under way.

        Args:
            run_id: Of that run.
            continued: Whether an earlier attempt may have logged a part of it.
        """
        self.run_id = run_id
        self.seconds_before = 0.0
        self._began = time.perf_counter()
        self._client = mlflow.MlflowClient()
        self._there = already_logged(self._client, run_id) if continued else AlreadyLogged()
        self._summary: DataSummary  # of the data, since the start
        self._n_undefined = 0
        self._signum: int | None = None
        self._waiting: list[tuple[str, float, int]] = []
        self._sent = time.monotonic()

    @property
    def seconds(self) -> float:
        """What this run took so far, all attempts together."""
        return self.seconds_before + time.perf_counter() - self._began

    def log_start(self, config: Config, dataset: Dataset, summary: DataSummary) -> None:
        """Log what is known before training: configuration and data."""
        own = replace(config.tracking, parent_run_id=None)
        config = replace(config, tracking=own, resume=False)  # what one would run again
        flat = flatten(config)
        cut = sorted(key for key, value in flat.items() if len(value) > MAX_PARAM)
        params = [
            Param(key, value[:MAX_PARAM])
            for key, value in flat.items()
            if key not in self._there.params
        ]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self.run_id, params=params[start : start + MAX_PARAMS])
        if cut:
            self._client.set_tag(self.run_id, "cut_params", ", ".join(cut))
        log_dataset(self._client, self.run_id, dataset_input(config, dataset, summary))
        self._summary = summary
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
            (folder / "dataset.json").write_text(json.dumps(summary.as_dict(), indent=2))
            if config.report.figures:
                from pipeline.report.label_frequencies import labels_png

                (folder / "figures").mkdir()
                (folder / "figures" / "labels.png").write_bytes(labels_png(summary))
            self._client.log_artifacts(self.run_id, name)

    def log_fold(self, fold: FoldResult, step: int) -> None:
        """Log the scores of one fold; its step is its place among all, repeat after repeat."""
        self._waiting += [(f"fold/{name}", value, step) for name, value in fold.scores.items()]
        if time.monotonic() - self._sent > SECONDS_BETWEEN:
            self._log_metrics([])

    def log_race(self, race: Race, decision: Decision, n_fits_skipped: int) -> None:
        """Log how a race went.

        Args:
            race: Against whom, by what.
            decision: What the first repeat said.
            n_fits_skipped: Fits that were not trained; above 0 it was stopped.
        """
        self._log_metrics(
            [("racing/advantage", decision.advantage, 0), ("racing/p", decision.p, 0)]
        )
        if n_fits_skipped:
            self._log_metrics([("fits_saved", n_fits_skipped, 0)])
            self._client.set_tag(self.run_id, STOPPED, "1")
            self._client.set_tag(self.run_id, "stopped_because", describe_decision(race, decision))

    def log_evaluation(self, evaluation: Evaluation) -> None:
        """Log the summary, the curves, the tables and the figures.

        The summary of some folds alone has names of its own, so that it cannot be taken for one of
        all.
        """
        part = "" if evaluation.final else "first_repeat/"
        summary: list[tuple[str, float, int]] = []
        for name, metric in evaluation.summary.items():
            self._n_undefined += metric.n_undefined_labels
            if metric.n_folds == 0:
                continue
            numbers = {"mean": metric.mean, "std": metric.std}
            if metric.ci:
                numbers["ci_low"], numbers["ci_high"] = metric.ci
            summary += [(f"{part}{name}_{key}", value, 0) for key, value in numbers.items()]
        for name in ("loss", "val_loss", "test_loss"):
            mean = mean_curve([getattr(fold, name) for fold in evaluation.folds])
            summary += [
                (f"epoch/{name}", float(value), epoch) for epoch, value in enumerate(mean, start=1)
            ]
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
        self._client.set_tag(self.run_id, "failure", message[:MAX_TAG])
        self._client.log_text(self.run_id, traceback.format_exc(), "traceback.txt")

    def log_end(self) -> None:
        """Log what is known when all else is done."""
        self._log_metrics([("seconds", self.seconds, 0)])

    def _log_metrics(self, values: list[tuple[str, float, int]]) -> None:
        """Send metrics; MLflow breaks on NaN and infinity, so those are counted instead."""
        now = int(time.time() * 1000)
        values = self._waiting + values
        self._waiting, self._sent = [], time.monotonic()
        finite = [value for value in values if math.isfinite(value[1])]
        self._n_undefined += len(values) - len(finite)
        new = [
            Metric(key, value, now, step)
            for key, value, step in finite
            if (key, step) not in self._there.steps
        ]
        for start in range(0, len(new), MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=new[start : start + MAX_METRICS])

    def _log_artifacts(self, evaluation: Evaluation) -> None:
        labels = labels_table(evaluation)
        tables = {"folds.json": folds_table(evaluation), "labels.json": labels}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, table in tables.items():
                split = table.to_dict(orient="split", index=False)
                (folder / file).write_text(json.dumps(_without_nan(split)))
            predictions_table(evaluation).to_parquet(folder / "predictions.parquet")
            write_report(folder, evaluation, self._summary, self._run_info(evaluation), labels)
            self._client.log_artifacts(self.run_id, name)
        shown = json.dumps([{"path": file, "type": "table"} for file in tables])
        self._client.set_tag(self.run_id, MLFLOW_LOGGED_ARTIFACTS, shown)

    def _run_info(self, evaluation: Evaluation) -> RunInfo:
        run = self._client.get_run(self.run_id)
        tags = run.data.tags
        details = {tag: value for tag, value in tags.items() if tag.startswith("version.")}
        details |= {digest: tags[digest] for digest in DIGESTS}
        if COMMIT in tags:
            details["commit"] = tags[COMMIT]
        return RunInfo(
            self.run_id,
            run.info.run_name,
            evaluation.config.tracking.experiment_name,
            datetime.fromtimestamp(run.info.start_time / 1000).astimezone(),
            details,
        )


@contextmanager
def track(
    experiment_id: str,
    run_name: str,
    tags: Mapping[str, str],
    parent: str | None = None,
    continued: str | None = None,
) -> Iterator[TrackedRun]:
    """Open a run and end it: FINISHED, FAILED after an exception, KILLED after a signal.

    Args:
        experiment_id: Where it belongs.
        run_name: Shown in the UI.
        tags: More tags than every run has.
        parent: The run of the sweep that it goes under, or None.
        continued: A run that was cut off and goes on, instead of a new one.
    """
    active = mlflow.start_run(
        run_id=continued,
        experiment_id=experiment_id,
        run_name=run_name[:MAX_NAME],
        parent_run_id=parent,
        tags={**versions(), PROCESS: this_process(), **tags},
    )
    run = TrackedRun(active.info.run_id, continued is not None)
    status = "FINISHED"
    previous = {signum: signal.signal(signum, run.interrupt) for signum in SIGNALS}
    try:
        with send_heartbeats(run.run_id):
            yield run
            run.log_end()
    except Exception as error:
        status = "FAILED"
        named = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        run.fail(f"{named}{error}")
        raise
    except BaseException:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _without_nan(table: dict[str, list[object]]) -> dict[str, list[object]]:
    def clean(value: object) -> object:
        if isinstance(value, list):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {key: [clean(item) for item in values] for key, values in table.items()}
