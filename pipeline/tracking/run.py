"""Log settings, metrics, tags and files to a run in MLflow, and end it with its status."""

import json
import math
import posixpath
import re
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from pipeline.errors import UserError, mask
from pipeline.mlflow_variables import ignore_variables
from pipeline.runtime import uninterrupted
from pipeline.tracking.dataset_info import DatasetInfo
from pipeline.tracking.heartbeat import PROCESS, send_heartbeats, this_process
from pipeline.tracking.run_reader import FOLD, RunRecord, to_record
from pipeline.tracking.store import (
    MAX_METRICS,
    MAX_NAME,
    MAX_PARAM,
    MAX_PARAMS,
    MAX_TAG,
    OUTDATED,
    PARENT,
)

NOT_IN_KEYS = re.compile(r"[^\w./ :-]")  # characters that MLflow refuses
SECONDS_BETWEEN_BATCHES = 1.0  # of fold scores

Value = tuple[str, float, int]
"""Name, value and step of a metric."""


class TrackedRun:
    """Sends settings, metrics, tags and files to one run.

    Attributes:
        run_id: Id of the run.
        params: The params that were logged through this object.
        seconds_before: Time that previous attempts at the run took.
    """

    def __init__(self, run_id: str, opened: Run | None = None) -> None:
        """Connect to the run; `opened` is what MLflow returned for it when it was opened."""
        self.run_id, self._opened = run_id, opened
        self.params: dict[str, str] = {}
        self.seconds_before = 0.0
        self._started = time.perf_counter()
        self._client = mlflow.MlflowClient()
        self._sent_params: frozenset[str] = frozenset()
        self._sent_metrics: dict[tuple[str, int], float] = {}
        self._last_metrics: dict[str, Metric] = {}  # of the whole run
        self._dataset: tuple[str, str] | None = None  # name and digest
        self._n_undefined = 0
        self._pending: list[Value] = []
        self._last_batch = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time that the run took so far, all attempts together."""
        return self.seconds_before + time.perf_counter() - self._started

    def record(self) -> RunRecord:
        """Read the run back."""
        return to_record(self._client.get_run(self.run_id))

    def opened(self, tags: Mapping[str, str]) -> RunRecord:
        """Return the run as it was opened by `track`, with tags that were set since."""
        assert self._opened
        record = to_record(self._opened)
        return replace(record, tags={**record.tags, **tags})

    @uninterrupted()
    def log_settings(self, settings: Mapping[str, str]) -> None:
        """Log settings by dotted key as params; too long values are cut and listed in a tag.

        Keys in the user's own mappings lose the characters that MLflow refuses.
        """
        settings = {_param_key(key): value for key, value in settings.items()}
        self.params |= {key: value[:MAX_PARAM] for key, value in settings.items()}
        new = self.params.keys() - self._sent_params
        params = [Param(key, value) for key, value in self.params.items() if key in new]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self.run_id, params=params[start : start + MAX_PARAMS])
        cut = sorted(key for key, value in settings.items() if len(value) > MAX_PARAM)
        if cut:
            self.set_tags({"cut_params": ", ".join(cut)})

    @uninterrupted()
    def log_dataset(self, dataset: DatasetInfo) -> None:
        """Log the data set to the run.

        If jobs log the same new data set at the same moment, MLflow takes it from one and fails
        for the others; a moment later it knows the data set.
        """
        self._dataset = dataset.name, dataset.digest
        try:
            self._client.log_inputs(self.run_id, [dataset.as_input()])
        except MlflowException:
            self._client.log_inputs(self.run_id, [dataset.as_input()])

    def log_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Log the scores of one fold, number `step` of all; about once a second they are sent."""
        self._pending += [(f"{FOLD}{name}", value, step) for name, value in scores.items()]
        if time.monotonic() - self._last_batch > SECONDS_BETWEEN_BATCHES:
            self.log_metrics([])

    @uninterrupted()
    def log_metrics(
        self,
        values: Iterable[Value],
        tags: Mapping[str, str] | None = None,
        linked: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """Send metrics, and tags in the same batch; too long tags are cut.

        NaN and infinity, on which MLflow breaks, are counted instead.

        Args:
            values: The metrics.
            tags: The tags.
            linked: Names of metrics of the whole run by id of a logged model, on whose page MLflow
                then shows them.
        """
        now = int(time.time() * 1000)
        values = [*self._pending, *values]
        self._pending, self._last_batch = [], time.monotonic()
        finite = [value for value in values if math.isfinite(value[1])]
        self._n_undefined += len(values) - len(finite)
        new = [
            Metric(name, value, now, step)
            for name, value, step in finite
            if (name, step) not in self._sent_metrics
            or (not name.startswith(FOLD) and value != self._sent_metrics[name, step])
        ]
        self._last_metrics |= {it.key: it for it in new if not it.key.startswith(FOLD)}
        for model_id, names in (linked or {}).items():
            new = [it for it in new if it.key not in names]
            new += [
                self._link(self._last_metrics[name], model_id)
                for name in names
                if name in self._last_metrics
            ]
        of_batch = [RunTag(key, value[:MAX_TAG]) for key, value in (tags or {}).items()]
        for start in range(0, max(len(new), len(of_batch)), MAX_METRICS):
            batch = new[start : start + MAX_METRICS]
            self._client.log_batch(self.run_id, metrics=batch, tags=[] if start else of_batch)

    def replace_metrics(self, prefixes: tuple[str, ...], values: Iterable[Value]) -> None:
        """Log metrics, and list others with these prefixes as outdated: MLflow deletes none."""
        values = list(values)
        self.log_metrics(values)
        record = self.record()
        names = {name for name in record.metrics if name.startswith(prefixes)}
        outdated = names.union(record.tags.get(OUTDATED, "").split()) - {
            name for name, *_ in values
        }
        if outdated or OUTDATED in record.tags:
            self.set_tags({OUTDATED: " ".join(sorted(outdated))[:MAX_TAG]})

    def _link(self, metric: Metric, model_id: str) -> Metric:
        """Link a metric to a logged model.

        If it is sent again with its value, step and time, it stays one metric of the run.
        """
        dataset_name, dataset_digest = self._dataset or (None, None)
        return Metric(
            *(metric.key, metric.value, metric.timestamp, metric.step),
            model_id=model_id,
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
            run_id=self.run_id,
        )

    def log_result(
        self,
        values: Iterable[Value],
        n_undefined: int,
        tags: Mapping[str, str],
        tables: Iterable[str],
        linked: Mapping[str, Collection[str]],
    ) -> None:
        """Log metrics, tags, and the number of undefined values: those logged and `n_undefined`.

        The other arguments are as of `log_metrics` and `log_files`.
        """
        tags = {**tags, **_tag_tables(tables)}
        values = [*self._pending, *values]
        self._pending = []
        n_undefined += self._n_undefined + sum(not math.isfinite(value) for _, value, _ in values)
        self.log_metrics([*values, ("undefined_values", n_undefined, 0)], tags, linked)

    @uninterrupted()
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; too long values are cut."""
        for key, value in tags.items():
            self._client.set_tag(self.run_id, key, value[:MAX_TAG])

    @uninterrupted()
    def log_files(self, folder: Path, tables: Iterable[str] = ()) -> None:
        """Log the files of a folder; MLflow shows JSON files as tables that `tables` names."""
        run = self._opened or self._client.get_run(self.run_id)
        repository = get_artifact_repository(run.info.artifact_uri)
        repository.log_artifacts(str(folder))  # type: ignore[no-untyped-call]
        if tags := _tag_tables(tables):
            self.set_tags(tags)

    @uninterrupted()
    def fail(self, message: str, trace: str) -> None:
        """Log why the run failed: the message as a tag, the traceback as a file."""
        self.set_tags({"failure": mask(message)})
        self._client.log_text(self.run_id, mask(trace), "traceback.txt")

    @uninterrupted()
    def skip_logged(self) -> None:
        """Send nothing that a previous attempt at the run logged, and remove its models.

        MLflow takes no second value for a param and keeps all values of a metric. A metric of the
        whole run is sent again if it has changed: the last value counts.
        """
        run = self._client.get_run(self.run_id)
        self._sent_params = frozenset(run.data.params)
        for key in run.data.metrics:
            history = self._client.get_metric_history(self.run_id, key)
            for metric in sorted(history, key=lambda metric: metric.timestamp):
                self._sent_metrics[key, metric.step] = metric.value
                self._last_metrics[key] = metric
        condition = f"source_run_id = '{self.run_id}'"
        experiments = [run.info.experiment_id]
        for model in self._client.search_logged_models(experiments, filter_string=condition):
            self._client.delete_logged_model(model.model_id)


def _tag_tables(names: Iterable[str]) -> dict[str, str]:
    """Return the tag by which MLflow shows JSON files as tables."""
    shown = [{"path": name, "type": "table"} for name in names]
    return {MLFLOW_LOGGED_ARTIFACTS: json.dumps(shown)} if shown else {}


def _param_key(key: str) -> str:
    """Return a key that MLflow takes: its characters, and no path that could mean another one."""
    cleaned = NOT_IN_KEYS.sub("_", key)[:MAX_NAME]
    is_name = posixpath.normpath(cleaned) == cleaned and not cleaned.startswith(("/", ".."))
    return cleaned if is_name else cleaned.replace("/", "_")


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
        experiment_id: Experiment of the run.
        run_name: Name of a new run.
        tags: Tags of the run.
        parent: Id of the parent run of the sweep, or None.
        continued: Id of an interrupted run to continue, or None for a new run.
    """
    run, status = None, "KILLED"
    own = {PROCESS: this_process(), **({PARENT: parent} if parent else {})}
    try:
        ignore_variables()  # else MLflow continues the run that one of them names
        with uninterrupted():
            active = mlflow.start_run(
                run_id=continued,
                experiment_id=experiment_id,
                run_name=run_name[:MAX_NAME],
                tags={**own, **tags},  # MLflow would read the parent run if it were an argument
            )
        run = TrackedRun(active.info.run_id, active)
        with send_heartbeats(run.run_id):
            yield run
            run.log_metrics([("seconds", run.seconds, 0)])
        status = "FINISHED"
    except Exception as error:
        status = "FAILED"
        if run:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            run.fail(f"{kind}{error}", traceback.format_exc())
        raise
    finally:
        with uninterrupted():
            mlflow.end_run(status)
