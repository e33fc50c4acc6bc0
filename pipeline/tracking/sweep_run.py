"""The parent run of a sweep and the runs of its jobs."""

import json
import re
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import mlflow
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from pipeline.comparison import Criterion, Entry, Leaderboard, Status, by_column
from pipeline.errors import UserError
from pipeline.evaluation import code_version, versions
from pipeline.tracking.heartbeat import (
    PROCESS,
    RunActiveError,
    describe_process,
    is_active,
    is_process_alive,
    this_process,
)
from pipeline.tracking.store import MAX_NAME, MAX_TAG, SUPERSEDED, Store, locked

DIGEST, PLAN, BEST = "sweep_digest", "sweep_plan", "best_run_id"
VARIED = "varied."  # before the key, in the names of tags
NOT_IN_TAGS = re.compile(r"[^\w./ -]")  # MLflow refuses other characters in their names
TABLE = "leaderboard.json"


@dataclass(frozen=True)
class SweepPlan:
    """What is known of a sweep before its jobs.

    Attributes:
        command: The command line, for people.
        digest: What commands share that ask for the same jobs.
        fixed: Keys that the command sets alike for all jobs.
        n_jobs: How many jobs there will be; None if only the sweeper knows.
        in_order: Whether the same command has the same jobs in the same order each time.
        criterion: What decides which is best; None: what the jobs put first.
    """

    command: str
    digest: str
    fixed: tuple[str, ...]
    n_jobs: int | None
    in_order: bool
    criterion: Criterion | None = None


@dataclass(frozen=True)
class Sweep:
    """A sweep under way: its parent run and its plan."""

    run_id: str
    experiment_id: str
    plan: SweepPlan

    def job(self, number: int, overrides: Sequence[str]) -> "SweepJob":
        """Return the job of that number.

        Args:
            number: Its place in the sweep, from 0.
            overrides: All that Hydra set for it, `key=value` each.
        """
        pairs = [override.lstrip("+~").partition("=") for override in overrides]
        varied = {key: value for key, _, value in pairs if key not in self.plan.fixed}
        return SweepJob(self, number, varied)


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        sweep: Which sweep.
        number: Its place there, from 0.
        varied: What sets it apart, by key.
    """

    sweep: Sweep
    number: int
    varied: dict[str, str]

    @property
    def name(self) -> str:
        """What sets it apart, in one line; empty if nothing does."""
        return ", ".join(f"{key}={value}" for key, value in self.varied.items())[:MAX_NAME]

    @property
    def count(self) -> str:
        """Its number, from 1, and of how many."""
        total = f"/{self.sweep.plan.n_jobs}" if self.sweep.plan.n_jobs else ""
        return f"[{self.number + 1}{total}]"

    @property
    def title(self) -> str:
        """Its number and its name."""
        return f"{self.count} {self.name}".rstrip()

    @property
    def tags(self) -> dict[str, str]:
        """What its run is to be found by."""
        overrides = " ".join(f"{key}={value}" for key, value in self.varied.items())
        keys = {key: NOT_IN_TAGS.sub("_", key) for key in self.varied}
        varied = {f"{VARIED}{keys[key]}": it[:MAX_TAG] for key, it in self.varied.items()}
        return {"sweep_job": str(self.number), "overrides": overrides[:MAX_TAG], **varied}


def begin_sweep(
    store: Store, experiment_id: str, plan: SweepPlan, name: str, resume: bool
) -> tuple[Sweep, bool]:
    """Return a sweep and whether it is an earlier one, taken up again.

    Args:
        store: Where it goes.
        experiment_id: Where it belongs.
        plan: What is asked for.
        name: Of the parent run.
        resume: Whether to take up the latest sweep of the same digest and code, if there is one.

    Raises:
        UserError: If another process is running that sweep.
    """
    client, code = mlflow.MlflowClient(), code_version()
    mine = {PROCESS: this_process(), PLAN: _as_json(plan)}
    with locked(store):
        is_resumed = _latest(client, experiment_id, plan.digest, code) if resume else None
        if is_resumed:
            if is_active(is_resumed):
                raise UserError(
                    f"resume: expected a sweep that has ended. Received: {is_resumed.info.run_id}, "
                    f"which {describe_process(is_resumed.data.tags[PROCESS])} is running."
                )
            run_id = str(is_resumed.info.run_id)
            client.update_run(run_id, status="RUNNING")
            for key, value in mine.items():
                client.set_tag(run_id, key, value)
        else:
            known = {"is_sweep": "true", DIGEST: plan.digest, "code_version": code}
            tags = {**versions(), **known, **mine, "command": plan.command[:MAX_TAG]}
            run = client.create_run(experiment_id, run_name=name[:MAX_NAME], tags=tags)
            run_id = str(run.info.run_id)
    return Sweep(run_id, experiment_id, plan), is_resumed is not None


@cache
def find_sweep(run_id: str) -> Sweep:
    """Return the sweep of that parent run, as its jobs see it."""
    run = mlflow.MlflowClient().get_run(run_id)
    plan: dict[str, Any] = json.loads(run.data.tags[PLAN])
    command, digest = run.data.tags["command"], run.data.tags[DIGEST]
    known = SweepPlan(command, digest, tuple(plan["fixed"]), plan["n_jobs"], plan["in_order"])
    return Sweep(run_id, run.info.experiment_id, known)


def log_leaderboard(sweep: Sweep, board: Leaderboard) -> None:
    """Put the leaderboard on the parent run: as a table, a figure, and the numbers of the best."""
    from pipeline.report.leaderboard_figure import leaderboard_figure

    client = mlflow.MlflowClient()
    client.log_dict(sweep.run_id, by_column(board.rows()), TABLE)
    shown = json.dumps([{"path": TABLE, "type": "table"}])
    client.set_tag(sweep.run_id, MLFLOW_LOGGED_ARTIFACTS, shown)
    client.log_metric(sweep.run_id, "n_finished", board.count("FINISHED"))
    client.log_metric(sweep.run_id, "n_failed", board.count("FAILED"))
    if not board.best:
        return
    client.log_figure(sweep.run_id, leaderboard_figure(board), "figures/leaderboard.png")
    client.set_tag(sweep.run_id, BEST, board.best.run_id)
    client.set_tag(sweep.run_id, "best", board.best.name[:MAX_TAG])
    for row in board.rows()[:1]:
        for name in (f"{board.metric}_{of}" for of in ("mean", "std", "ci_low", "ci_high")):
            if row[name] is not None:
                client.log_metric(sweep.run_id, f"best/{name}", row[name])


def end_sweep(sweep: Sweep, board: Leaderboard, interrupted: bool) -> None:
    """End the parent run: FINISHED if all jobs are, else KILLED or FAILED."""
    status = "KILLED" if interrupted else "FINISHED" if board.is_complete else "FAILED"
    mlflow.MlflowClient().set_terminated(sweep.run_id, status)


def forget_sweep(sweep: Sweep) -> None:
    """Remove the parent run of a sweep that came to nothing."""
    client = mlflow.MlflowClient()
    client.set_terminated(sweep.run_id, "FAILED")
    client.delete_run(sweep.run_id)


def _latest(client: mlflow.MlflowClient, experiment_id: str, digest: str, code: str) -> Run | None:
    same = f"tags.{DIGEST} = '{digest}' AND tags.code_version = '{code}'"
    found = client.search_runs(
        [experiment_id], same, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return found[0] if found else None


def _as_json(plan: SweepPlan) -> str:
    return json.dumps({"fixed": plan.fixed, "n_jobs": plan.n_jobs, "in_order": plan.in_order})


@contextmanager
def record_failures(job: SweepJob) -> Iterator[None]:
    """Leave a run marked FAILED, with the reason, if what is done here raises."""
    try:
        yield
    except RunActiveError:
        raise
    except Exception as error:
        refused = isinstance(error, UserError)
        reason = str(error) if refused else f"{type(error).__name__}: {error}"
        replaced = [run.info.run_id for run in previous_job_runs(job)]
        run_id = record_failure(job, reason, traceback.format_exc())
        supersede(replaced, run_id)
        raise


def record_failure(job: SweepJob, reason: str, trace: str = "") -> str:
    """Leave a run marked FAILED for a job that has none and return its id.

    Args:
        job: The job.
        reason: Why it failed.
        trace: The traceback, if there is one.
    """
    client = mlflow.MlflowClient()
    tags = {
        **job.tags,
        "mlflow.parentRunId": job.sweep.run_id,
        "failure": reason[:MAX_TAG],
        PROCESS: this_process(),
    }
    name = job.name or f"job {job.number}"
    run = client.create_run(job.sweep.experiment_id, tags=tags, run_name=name)
    run_id = str(run.info.run_id)
    if trace:
        client.log_text(run_id, trace, "traceback.txt")
    client.set_terminated(run_id, "FAILED")
    return run_id


PAGE = 1000  # runs read at once
SECONDS_TO_END = 8.0  # for processes that were told to


def read_leaderboard(sweep: Sweep) -> Leaderboard:
    """Return how the jobs of a sweep did."""
    entries = [_entry(run) for run in children(sweep) if SUPERSEDED not in run.data.tags]
    return Leaderboard(entries, sweep.plan.n_jobs, sweep.plan.criterion)


def end_dead_runs(sweep: Sweep) -> None:
    """End the runs that no process works on any more, when no job is to be under way.

    Processes of this host that live get a little time to end by themselves.
    """
    client, until = mlflow.MlflowClient(), time.monotonic() + SECONDS_TO_END
    while True:
        ending = False
        for run in children(sweep, "attributes.status = 'RUNNING'"):
            process = run.data.tags.get(PROCESS, "")
            if process == this_process():
                failure = "Its end could not be written; the error is on the screen of the sweep."
                client.set_tag(run.info.run_id, "failure", failure)
                client.set_terminated(run.info.run_id, "FAILED")
            elif not is_active(run):
                client.set_terminated(run.info.run_id, "KILLED")
            else:
                ending |= bool(process and is_process_alive(process))
        if not ending or time.monotonic() > until:
            return
        time.sleep(0.2)


def children(sweep: Sweep, also: str = "") -> Iterator[Run]:
    """Yield the runs of a sweep's jobs, the latest first.

    Args:
        sweep: Which sweep.
        also: More that a run must fulfil, in MLflow's words.
    """
    mine = f"tags.`mlflow.parentRunId` = '{sweep.run_id}'"
    token = None
    while True:
        page = mlflow.MlflowClient().search_runs(
            [sweep.experiment_id],
            f"{mine} AND {also}" if also else mine,
            max_results=PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def supersede(old: Iterable[str], new: str) -> None:
    """List a run in the place of others."""
    for run_id in old:
        mlflow.MlflowClient().set_tag(run_id, SUPERSEDED, new)


def previous_job_runs(job: SweepJob) -> Iterator[Run]:
    """Yield the runs that earlier attempts at a sweep made for a job.

    Its number tells them, or, where jobs have no order, what sets it apart; what is finished then
    stays, for it may be drawn again.
    """
    if job.sweep.plan.in_order:
        yield from children(job.sweep, f"tags.sweep_job = '{job.number}'")
        return
    for run in children(job.sweep, "attributes.status != 'FINISHED'"):
        if run.data.tags.get("overrides") == job.tags["overrides"]:
            yield run


def _entry(run: Run) -> Entry:
    tags, info = run.data.tags, run.info
    in_order = tags.get("overrides", "")
    keys = [key.removeprefix(VARIED) for key in tags if key.startswith(VARIED)]
    keys.sort(key=lambda key: in_order.find(f"{key}="))
    number, ended = tags.get("sweep_job"), info.end_time
    took = (ended - info.start_time) / 1000 if ended else None
    status: Status = info.status if info.status in get_args(Status) else "RUNNING"
    return Entry(
        run_id=info.run_id,
        number=int(number) if number else None,
        varied={key: tags[f"{VARIED}{key}"] for key in keys},
        status=status,
        headline=tags.get("headline", ""),
        metrics=run.data.metrics,
        seconds=run.data.metrics.get("seconds", took),
        reason=tags.get("failure") or tags.get("stopped_because", ""),
        tried_on=(tags.get("data_digest", ""), tags.get("split_digest", "")),
    )


def end_dead_job(job: SweepJob, reason: str) -> None:
    """End the run of a job that nothing works on any more, so that it can go on.

    Args:
        job: The job.
        reason: What became of its process, or empty; if it is told, a job without a run is given
            one, marked FAILED.
    """
    client = mlflow.MlflowClient()
    runs = list(children(job.sweep, f"tags.sweep_job = '{job.number}'"))
    for run in runs:
        if run.info.status == "RUNNING":
            if reason:
                client.set_tag(run.info.run_id, "failure", reason[:MAX_TAG])
            client.set_terminated(run.info.run_id, "KILLED")
    if reason and not runs:
        record_failure(job, reason)
