"""Read runs back from the MLflow store."""

import json
import math
import re
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import UserError, suggest
from pipeline.tracking.artifact_reader import open_artifact
from pipeline.tracking.sqlite import copy_database, is_read_only, sqlite_uri
from pipeline.tracking.store import (
    OUTDATED,
    PARENT,
    STOPPED,
    SUPERSEDED,
    Store,
    check_store,
    store_error,
    use_store,
)

FINISHED = "FINISHED"
FOLD = "fold/"  # prefix of metrics whose steps are folds
MIN_PREFIX = 4  # characters of a run's id
MAX_LISTED = 5  # runs of the same name in a message
MAX_NAMES = 1000  # runs whose names are suggested


@dataclass(frozen=True)
class RunRecord:
    """One run as plain values.

    Attributes:
        run_id: Its id.
        experiment_id: Id of its experiment.
        name: Its name.
        status: FINISHED, FAILED, KILLED or RUNNING.
        started: Start time in milliseconds since 1970.
        ended: End time in milliseconds since 1970, or None.
        params: Logged params.
        tags: Tags.
        metrics: Last value of each metric.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    started: int
    ended: int | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def parent(self) -> str | None:
        """Id of the parent run, or None."""
        return self.tags.get(PARENT)

    @property
    def is_sweep(self) -> bool:
        """True for the parent run of a sweep."""
        return self.tags.get("is_sweep") == "true"

    @property
    def is_stopped_early(self) -> bool:
        """True if racing stopped the run after the first repeat."""
        return STOPPED in self.tags


@dataclass(frozen=True)
class NamedRuns:
    """The finished runs of a request, and the names of unfinished ones.

    Attributes:
        runs: The finished runs, each once.
        skipped: Names of the runs of the sweeps that have not finished, by their status.
    """

    runs: list[RunRecord]
    skipped: dict[str, list[str]]


def to_record(run: Run) -> RunRecord:
    """Convert a run of MLflow to plain values, without metrics that are outdated."""
    info, data, outdated = run.info, run.data, run.data.tags.get(OUTDATED, "").split()
    return RunRecord(
        run_id=str(info.run_id),
        experiment_id=str(info.experiment_id),
        name=str(info.run_name),
        status=str(info.status),
        started=info.start_time,
        ended=info.end_time,
        params=dict(data.params),
        tags=dict(data.tags),
        metrics={key: value for key, value in data.metrics.items() if key not in outdated},
    )


def search_runs(
    experiment_ids: Sequence[str], condition: str = "", limit: int = 100_000
) -> list[RunRecord]:
    """Return the runs of the store in use that fulfil a condition of MLflow, newest first."""
    runs: Any = mlflow.search_runs(
        list(experiment_ids),
        condition,
        max_results=limit,
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return [to_record(run) for run in runs]


class RunReader:
    """Reads runs from an MLflow store, and writes nothing."""

    def __init__(self, store: Store) -> None:
        """Connect to the store and make it the one in use.

        Raises:
            UserError: If the store does not exist or MLflow cannot read it.
        """
        if store.database and not store.database.exists():
            raise UserError(
                f"Expected an MLflow store with runs. Received: {store.database}, which does not "
                "exist. Make a run first, or name another store with tracking.uri=..."
            )
        if not store.database:
            check_store(store)
        self._store = store
        with self._store_errors():
            if store.database and is_read_only(store.database):
                folder = mkdtemp(prefix="manyfold-")
                weakref.finalize(self, shutil.rmtree, folder)
                copy = copy_database(store.database, Path(folder))
                store = replace(store, uri=sqlite_uri(copy))
            use_store(store)
            self._client = MlflowClient(store.uri)
            experiments: Any = mlflow.search_experiments()
            self._experiment_ids = {
                experiment.name: str(experiment.experiment_id) for experiment in experiments
            }

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment.

        Raises:
            UserError: If there is no such experiment.
        """
        if name not in self._experiment_ids:
            raise UserError(
                f"tracking.experiment_name: no experiment {name!r} in the store. "
                f"{suggest(name, self._experiment_ids)}"
            )
        return self._experiment_ids[name]

    def find(self, names: Sequence[str]) -> NamedRuns:
        """Return the named runs, and the finished runs of the named sweeps.

        Args:
            names: Name or id of each run or sweep, or the start of its id.

        Raises:
            UserError: If a run is unknown, its name is not unique, or it has not finished.
        """
        runs: dict[str, RunRecord] = {}
        skipped: dict[str, list[str]] = {}
        for name in names:
            run = self.one(name)
            if run.is_sweep:
                for child in reversed(self.children(run.run_id)):
                    if (status := _status(child)) == FINISHED:
                        runs[child.run_id] = child
                    else:
                        skipped.setdefault(status, []).append(child.name)
            else:
                _check_finished(run)
                runs[run.run_id] = run
        return NamedRuns(list(runs.values()), skipped)

    def children(self, parent: str) -> list[RunRecord]:
        """Return the runs of a sweep's jobs, newest first, without superseded ones."""
        runs = self._search(f"tags.`{PARENT}` = '{parent}'")
        return [run for run in runs if SUPERSEDED not in run.tags]

    def fold_scores(self, run_id: str, metric: str, n_folds: int) -> NDArray[np.float64]:
        """Return the score of each fold, of shape (n_folds,); NaN where undefined.

        Of a fold that was trained twice, the last value counts.
        """
        scores = np.full(n_folds, math.nan)
        with self._store_errors():
            history = self._client.get_metric_history(run_id, f"{FOLD}{metric}")
        for value in sorted(history, key=lambda value: value.timestamp):
            scores[value.step] = value.value
        return scores

    def fold_sizes(self, run_id: str) -> NDArray[np.int64]:
        """Return n_train and n_test of each fold, of shape (n_folds, 2)."""
        table = json.loads(self.read_text(run_id, "folds.json"))
        columns = [table["columns"].index(name) for name in ("n_train", "n_test")]
        return np.array([[row[column] for column in columns] for row in table["data"]])

    def read_text(self, run_id: str, name: str) -> str:
        """Return the content of a text file that a run logged."""
        with self._store_errors(), open_artifact(run_id, name) as path:
            return path.read_text(encoding="utf-8")

    def dataset_path(self, run_id: str) -> str | None:
        """Return the absolute path of the file that a run read, or None."""
        with self._store_errors():
            inputs = self._client.get_run(run_id).inputs
        datasets = inputs.dataset_inputs if inputs else []
        return json.loads(datasets[0].dataset.source).get("uri") if datasets else None

    def one(self, name: str) -> RunRecord:
        """Return the run with a name or id; of several, the one that has finished.

        Raises:
            UserError: If there is no such run, or the name is not unique.
        """
        runs: list[RunRecord] = []
        for condition in _conditions(name):
            runs = runs or self._search(condition)
        if not runs:
            names = {run.name for run in self._search("", limit=MAX_NAMES)}
            expected = f"Expected a run or a sweep of the store. Received: {name!r}."
            raise UserError(f"{expected} {suggest(name, names)}")
        finished = [run for run in runs if run.status == FINISHED]
        if len(runs) > 1 and len(finished) != 1:
            listed = ", ".join(f"{run.run_id} ({run.status})" for run in runs[:MAX_LISTED])
            more = f" and {len(runs) - MAX_LISTED} more" if len(runs) > MAX_LISTED else ""
            raise UserError(
                f"Expected the name of one run. Received: {name!r}, which {len(runs)} runs have. "
                f"Name them by their ids, the newest first: {listed}{more}."
            )
        return finished[0] if len(runs) > 1 else runs[0]

    def _search(self, condition: str, limit: int = 100_000) -> list[RunRecord]:
        if not self._experiment_ids:
            return []
        with self._store_errors():
            return search_runs([*self._experiment_ids.values()], condition, limit)

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Turn errors of the store into a `UserError` that names it."""
        try:
            yield
        except ImportError as error:
            raise store_error(error, self._store.uri) from error
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UserError(
                "Expected an MLflow store that can be read, with its artifacts. Received: "
                f"{self._store.uri} ({reason})"
            ) from error


def _conditions(name: str) -> Iterator[str]:
    """Yield search conditions, most specific first: whole id, name, sweep, start of an id."""
    is_id = re.fullmatch(r"[0-9a-f]{32}", name)
    if is_id:
        yield f"attributes.run_id = '{name}'"
    quote = "'" if "'" not in name else '"'
    if quote not in name:
        yield f"attributes.run_name = {quote}{name}{quote}"
        yield f"tags.is_sweep = 'true' AND tags.sweep = {quote}{name}{quote}"
    if not is_id and re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX},31}}", name):
        yield f"attributes.run_id LIKE '{name}%'"


def _status(run: RunRecord) -> str:
    return "stopped early by racing" if run.is_stopped_early else run.status


def _check_finished(run: RunRecord) -> None:
    if _status(run) != FINISHED:
        failure = run.tags.get("failure")
        reason = f": {failure.splitlines()[0]}" if failure else ""
        raise UserError(
            f"Expected finished runs. Received: {run.name!r} ({run.run_id}), which is "
            f"{_status(run)}{reason}."
        )
