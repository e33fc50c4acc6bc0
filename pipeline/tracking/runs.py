"""Read runs back from the MLflow store."""

import ast
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from pipeline.comparison import RunScores, with_distinct_names
from pipeline.cv import Split
from pipeline.cv import digest as split_digest
from pipeline.dataset import Dataset
from pipeline.errors import UserError, suggest
from pipeline.tracking.store import STOPPED, SUPERSEDED, Store, check_store

FINISHED = "FINISHED"
FOLD = "fold/"  # before the name of a metric whose steps are folds
PARENT = "mlflow.parentRunId"
PAGE = 1000  # runs in one answer of the store
MIN_PREFIX = 4  # characters of an id
MAX_LISTED = 5  # runs of one name in a refusal
T = TypeVar("T")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@dataclass(frozen=True)
class Found:
    """Runs that may be compared.

    Attributes:
        runs: The finished ones, each once.
        skipped: How many runs of the sweeps have not finished, by their status; those that racing
            stopped are told apart.
    """

    runs: list[RunScores]
    skipped: dict[str, int]


class RunReader:
    """Reads runs from an MLflow store, and writes nothing."""

    def __init__(self, store: Store) -> None:
        """Connect to the store.

        Raises:
            UserError: If there is none, or MLflow cannot read it.
        """
        if store.database and not store.database.exists():
            raise UserError(
                f"Expected an MLflow store with runs. Received: {store.database}, which does not "
                "exist. Make a run first, or name another store by --tracking-uri."
            )
        if not store.database:
            check_store(store)
        self._store = store
        with self._store_errors():
            self._client = MlflowClient(store.uri)
            found = _pages(lambda token: self._client.search_experiments(page_token=token))
            self._experiments = [str(experiment.experiment_id) for experiment in found]

    def find(self, asked: Sequence[str]) -> Found:
        """Return the runs that are asked for, those of a sweep where it is asked for.

        Args:
            asked: Of each run or sweep its name, its id, or the start of its id.

        Raises:
            UserError: If one is unknown, is not the only one of its name, or has not finished.
        """
        runs: dict[str, Run] = {}
        skipped: Counter[str] = Counter()
        with self._store_errors():
            for name in asked:
                run = self.one(name)
                if run.data.tags.get("is_sweep") == "true":
                    children = [
                        child
                        for child in self._search(f"tags.`{PARENT}` = '{run.info.run_id}'")
                        if SUPERSEDED not in child.data.tags
                    ]
                    finished = [child for child in children if _status(child) == FINISHED]
                    skipped.update(_status(c) for c in children if _status(c) != FINISHED)
                    runs |= {child.info.run_id: child for child in reversed(finished)}
                else:
                    _check_finished(run)
                    runs[run.info.run_id] = run
        return Found(
            with_distinct_names([_run_scores(run) for run in runs.values()]), dict(skipped)
        )

    def scores(self, evidence: RunScores, metric: str, n_folds: int) -> NDArray[np.float64]:
        """Return a score per fold, the mean of the runs if there are several; NaN if undefined."""
        scores = np.full((len(evidence.run_ids), n_folds), np.nan)
        with self._store_errors():
            for row, run_id in zip(scores, evidence.run_ids, strict=True):
                history = self._client.get_metric_history(run_id, f"{FOLD}{metric}")
                for value in sorted(history, key=lambda value: value.timestamp):
                    row[value.step] = value.value  # a fold that was trained again counts once
        return np.asarray(scores.mean(axis=0))

    def fold_sizes(self, evidence: RunScores) -> NDArray[np.int64]:
        """Return n_train and n_test of each fold, of shape (n_folds, 2)."""
        with self._store_errors(), TemporaryDirectory() as folder:
            path = self._client.download_artifacts(evidence.run_ids[0], "folds.json", folder)
            table = json.loads(Path(path).read_text())
        columns = [table["columns"].index(name) for name in ("n_train", "n_test")]
        return np.array([[row[column] for column in columns] for row in table["data"]])

    def one(self, name: str) -> Run:
        """Return the run of that name or id; of several, the one that has finished.

        Raises:
            UserError: If there is none, or more.
        """
        found: list[Run] = []
        with self._store_errors():
            for condition in _conditions(name):
                found = found or self._search(condition)
        if not found:
            known = {run.info.run_name for run in self._search("", limit=PAGE)}
            raise UserError(
                f"Expected a run or a sweep of the store. Received: {name!r}. "
                f"{suggest(name, known)}"
            )
        finished = [run for run in found if run.info.status == FINISHED]
        if len(found) > 1 and len(finished) != 1:
            listed = ", ".join(f"{r.info.run_id} ({r.info.status})" for r in found[:MAX_LISTED])
            more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
            raise UserError(
                f"Expected the name of one run. Received: {name!r}, which {len(found)} runs have. "
                f"Name them by their ids, the newest first: {listed}{more}."
            )
        return finished[0] if len(found) > 1 else found[0]

    def _search(self, condition: str, limit: int | None = None) -> list[Run]:
        """Return the runs for which the condition holds, newest first."""
        if not self._experiments:
            return []

        def page(token: str | None) -> list[Run]:
            return self._client.search_runs(
                self._experiments, condition, max_results=PAGE, page_token=token
            )

        return page(None) if limit else list(_pages(page))

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Say what the store is for, where MLflow cannot use it."""
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UserError(
                "Expected an MLflow store that can be read, with its artifacts. Received: "
                f"{self._store.uri} ({reason})"
            ) from error


def _conditions(name: str) -> Iterator[str]:
    """Yield what to search for, the surest first: whole id, name, sweep, start of an id."""
    is_id = re.fullmatch(r"[0-9a-f]{32}", name)
    if is_id:
        yield f"attributes.run_id = '{name}'"
    quote = "'" if "'" not in name else '"'
    if quote not in name:
        yield f"attributes.run_name = {quote}{name}{quote}"
        yield f"tags.is_sweep = 'true' AND tags.sweep = {quote}{name}{quote}"
    if not is_id and re.fullmatch(rf"[0-9a-f]{{{MIN_PREFIX},31}}", name):
        yield f"attributes.run_id LIKE '{name}%'"


def _status(run: Run) -> str:
    stopped = STOPPED in run.data.tags
    return "stopped after a repeat" if stopped else str(run.info.status)


def _check_finished(run: Run) -> None:
    if _status(run) != FINISHED:
        failure = run.data.tags.get("failure")
        reason = f": {failure.splitlines()[0]}" if failure else ""
        raise UserError(
            f"Expected finished runs. Received: {run.info.run_name!r} ({run.info.run_id}), which "
            f"is {_status(run)}{reason}."
        )


def _run_scores(run: Run) -> RunScores:
    tags, settings = run.data.tags, dict(run.data.params)
    if not {"split_digest", "data_digest"} <= tags.keys():
        raise UserError(
            f"Expected runs of this program. Received: {run.info.run_name!r} ({run.info.run_id}), "
            "which does not tell its data and splits (the tags data_digest and split_digest)."
        )
    values = run.data.metrics
    scored = [key.removeprefix(FOLD) for key in values if key.startswith(FOLD)]
    try:
        metrics = tuple(map(str, ast.literal_eval(settings["scoring.metrics"])))
    except (KeyError, ValueError, SyntaxError):  # a list too long for MLflow was cut
        metrics = ()
    return RunScores(
        name=str(run.info.run_name),
        run_ids=(str(run.info.run_id),),
        data_digest=tags["data_digest"],
        split_digest=tags["split_digest"],
        metrics=metrics,
        means={metric: values.get(f"{metric}_mean", math.nan) for metric in scored},
        settings=settings,
        sweep=tags.get(PARENT, ""),
        fingerprint=(tags.get("config_digest", ""), tags.get("code_version", "")),
    )


def _pages(ask: Callable[[str | None], Sequence[T]]) -> Iterator[T]:
    """Yield everything that a store gives page by page."""
    token: str | None = None
    while True:
        page = ask(token)
        yield from page
        token = getattr(page, "token", None)
        if not token:
            return


def paired_scores(
    store: Store, asked: str, metric: str, dataset: Dataset, splits: Sequence[Split]
) -> list[float] | None:
    """Return a run's score on each fold, in their order; None if its folds or data are others.

    Args:
        store: Where the run is.
        asked: Its name, its id, or the start of its id.
        metric: By name.
        dataset: What its folds must be of.
        splits: What its folds must be.

    Returns:
        One number per split; NaN where the run has none.

    Raises:
        UserError: If there is no such run.
    """
    try:
        run = RunReader(store).one(asked)
    except UserError as error:
        raise UserError(f"racing.incumbent: {error}") from error
    mine = {"data_digest": dataset.digest, "split_digest": split_digest(splits)}
    if any(run.data.tags.get(key) != value for key, value in mine.items()):
        return None
    scores = [math.nan] * len(splits)
    for score in MlflowClient().get_metric_history(run.info.run_id, f"fold/{metric}"):
        scores[score.step] = score.value
    return scores
