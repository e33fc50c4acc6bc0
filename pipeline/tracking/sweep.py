"""The parent run of a sweep, and the runs of its jobs."""

import json
import re
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import mlflow

from pipeline.errors import UserError, mask
from pipeline.runtime import uninterrupted
from pipeline.tracking.heartbeat import (
    PROCESS,
    RunActiveError,
    describe_process,
    find_active,
    is_active,
    is_process_running,
    this_process,
)
from pipeline.tracking.run_reader import RunRecord, search_runs
from pipeline.tracking.store import MAX_NAME, MAX_TAG, PARENT, SUPERSEDED, Store, locked

DIGEST, PLAN, BEST = "sweep_digest", "sweep_plan", "best_run_id"
VARIED = "varied."  # prefix of the tags that hold varied settings
NOT_IN_TAGS = re.compile(r"[^\w./ -]")  # characters that MLflow refuses in names of tags
RUNNING = "attributes.status = 'RUNNING'"
SECONDS_TO_END = 8.0  # for processes that received a signal


@dataclass(frozen=True)
class SweepPlan:
    """A sweep as planned before its jobs run.

    Attributes:
        command: The command line, for people.
        digest: Digest that commands with the same jobs share.
        fixed: Keys that the command sets to the same value for all jobs.
        n_jobs: Number of jobs; None if only the sweeper knows.
        in_order: Whether the same command has the same jobs in the same order each time.
    """

    command: str
    digest: str
    fixed: tuple[str, ...]
    n_jobs: int | None
    in_order: bool


@dataclass(frozen=True)
class Sweep:
    """The parent run of a sweep and its plan."""

    run_id: str
    experiment_id: str
    plan: SweepPlan

    def job(self, number: int, overrides: Sequence[str]) -> "SweepJob":
        """Return the job with a number, from 0, and the overrides that Hydra set for it."""
        pairs = [override.lstrip("+~").partition("=") for override in overrides]
        varied = {key: value for key, _, value in pairs if key not in self.plan.fixed}
        return SweepJob(self, number, varied)


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        sweep: The sweep.
        number: Its number, from 0.
        varied: The settings that the sweep varies, by key.
    """

    sweep: Sweep
    number: int
    varied: dict[str, str]

    @property
    def name(self) -> str:
        """Its varied settings in one line; empty if there are none."""
        return ", ".join(f"{key}={value}" for key, value in self.varied.items())[:MAX_NAME]

    @property
    def position(self) -> str:
        """Its number, from 1, and the number of jobs: `[3/4]`."""
        total = f"/{self.sweep.plan.n_jobs}" if self.sweep.plan.n_jobs else ""
        return f"[{self.number + 1}{total}]"

    @property
    def title(self) -> str:
        """Its position and its name."""
        return f"{self.position} {self.name}".rstrip()

    @property
    def tags(self) -> dict[str, str]:
        """The tags that identify its run."""
        overrides = " ".join(f"{key}={value}" for key, value in self.varied.items())
        keys = {key: NOT_IN_TAGS.sub("_", key) for key in self.varied}
        varied = {f"{VARIED}{keys[key]}": value[:MAX_TAG] for key, value in self.varied.items()}
        return {"sweep_job": str(self.number), "overrides": overrides[:MAX_TAG], **varied}


@uninterrupted()
def begin_sweep(
    store: Store,
    experiment_id: str,
    plan: SweepPlan,
    name: str,
    code_version: str,
    tags: Mapping[str, str],
    resume: bool,
) -> tuple[Sweep, bool]:
    """Make the parent run of a sweep, or reopen one.

    Args:
        store: The store.
        experiment_id: Experiment of the run.
        plan: Plan of the sweep.
        name: Name of the parent run.
        code_version: Digest of the code; only a sweep of the same code is reopened.
        tags: More tags of a new parent run.
        resume: Whether to reopen the latest sweep with the same plan and code, if there is one.

    Returns:
        The sweep, and whether it was reopened.

    Raises:
        UserError: If another process is running that sweep.
    """
    client = mlflow.MlflowClient()
    jobs = {"fixed": plan.fixed, "n_jobs": plan.n_jobs, "in_order": plan.in_order}
    owner = {PROCESS: this_process(), PLAN: json.dumps(jobs)}
    with locked(store):
        previous = _latest(experiment_id, plan.digest, code_version) if resume else None
        if previous and is_active(previous):
            raise UserError(
                f"resume: expected a sweep that has ended. Received: {previous.run_id}, "
                f"which {describe_process(previous.tags[PROCESS])} is running."
            )
        if previous:
            run_id = previous.run_id
            client.update_run(run_id, status="RUNNING")
            for key, value in owner.items():
                client.set_tag(run_id, key, value)
        else:
            own = {"is_sweep": "true", DIGEST: plan.digest, "code_version": code_version}
            tags = {**tags, **own, **owner, "command": plan.command[:MAX_TAG]}
            run = client.create_run(experiment_id, run_name=name[:MAX_NAME], tags=tags)
            run_id = str(run.info.run_id)
    return Sweep(run_id, experiment_id, plan), previous is not None


@cache
def find_sweep(run_id: str) -> Sweep:
    """Return the sweep with that parent run, as its jobs see it."""
    run = mlflow.MlflowClient().get_run(run_id)
    tags, plan = run.data.tags, json.loads(run.data.tags[PLAN])
    plan |= {"command": tags["command"], "digest": tags[DIGEST], "fixed": tuple(plan["fixed"])}
    return Sweep(run_id, run.info.experiment_id, SweepPlan(**plan))


@uninterrupted()
def end_sweep(sweep: Sweep, is_complete: bool, is_interrupted: bool) -> None:
    """End the parent run: FINISHED if all jobs are, else KILLED or FAILED."""
    status = "KILLED" if is_interrupted else "FINISHED" if is_complete else "FAILED"
    mlflow.MlflowClient().set_terminated(sweep.run_id, status)


@uninterrupted()
def delete_sweep(sweep: Sweep) -> None:
    """Delete the parent run of a sweep without jobs."""
    client = mlflow.MlflowClient()
    client.set_terminated(sweep.run_id, "FAILED")
    client.delete_run(sweep.run_id)


def children(sweep: Sweep, condition: str = "") -> list[RunRecord]:
    """Return the runs of a sweep's jobs that fulfil a condition, newest first."""
    of_sweep = f"tags.`{PARENT}` = '{sweep.run_id}'"
    both = f"{of_sweep} AND {condition}" if condition else of_sweep
    return search_runs([sweep.experiment_id], both)


def previous_job_runs(job: SweepJob) -> list[RunRecord]:
    """Return the runs of previous attempts at a job, newest first.

    They have its number or, where the order of jobs varies, its overrides; finished runs are left
    out then, for the same overrides may be sampled again.
    """
    if job.sweep.plan.in_order:
        return children(job.sweep, f"tags.sweep_job = '{job.number}'")
    unfinished = children(job.sweep, "attributes.status != 'FINISHED'")
    return [run for run in unfinished if run.tags.get("overrides") == job.tags["overrides"]]


@uninterrupted()
def supersede(old: Iterable[str], new: str) -> None:
    """Mark runs as superseded, so that the sweep lists the new run instead."""
    for run_id in old:
        mlflow.MlflowClient().set_tag(run_id, SUPERSEDED, new)


@contextmanager
def record_failures(job: SweepJob | None) -> Iterator[None]:
    """Record an exception as a FAILED run of the job, unless another process works on it."""
    try:
        yield
    except RunActiveError:
        raise
    except Exception as error:
        if job is None:
            raise
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        replaced = [run.run_id for run in previous_job_runs(job)]
        run_id = record_failure(job, f"{kind}{error}", traceback.format_exc())
        supersede(replaced, run_id)
        raise


@uninterrupted()
def record_failure(job: SweepJob, reason: str, trace: str = "") -> str:
    """Make a FAILED run for a job that has none, and return its id."""
    client = mlflow.MlflowClient()
    own = {PARENT: job.sweep.run_id, "failure": mask(reason)[:MAX_TAG], PROCESS: this_process()}
    name = job.name or f"job {job.number}"
    run = client.create_run(job.sweep.experiment_id, tags=job.tags | own, run_name=name)
    run_id = str(run.info.run_id)
    if trace:
        client.log_text(run_id, mask(trace), "traceback.txt")
    client.set_terminated(run_id, "FAILED")
    return run_id


@uninterrupted()
def end_dead_job(job: SweepJob, reason: str) -> None:
    """End the run of a job whose process is dead, so that it can be continued.

    If there is a reason to record, a job without a run gets a FAILED one.
    """
    client = mlflow.MlflowClient()
    runs = children(job.sweep, f"tags.sweep_job = '{job.number}'")
    for run in runs:
        if run.status == "RUNNING":
            if reason:
                client.set_tag(run.run_id, "failure", mask(reason)[:MAX_TAG])
            client.set_terminated(run.run_id, "KILLED")
    if reason and not runs:
        record_failure(job, reason)


def end_dead_runs(sweep: Sweep, is_resumed: bool = False) -> None:
    """End the runs of jobs whose processes are dead, when no job should be running.

    Processes of this host that are alive get a few seconds to end by themselves. Those of other
    hosts are left to the launcher, unless the sweep is resumed after its launcher has ended.
    """
    client, dead = mlflow.MlflowClient(), set()
    if is_resumed:
        runs = children(sweep, RUNNING)
        dead = {run.run_id for run in runs} - find_active(runs)
    deadline = time.monotonic() + SECONDS_TO_END
    while True:
        is_ending = False
        for run in children(sweep, RUNNING):
            process = run.tags.get(PROCESS, "")
            is_running = is_process_running(process) if process else None
            if process == this_process():
                failure = "Its end could not be written; the error is on the screen of the sweep."
                with uninterrupted():
                    client.set_tag(run.run_id, "failure", failure)
                    client.set_terminated(run.run_id, "FAILED")
            elif is_running is False or run.run_id in dead:
                with uninterrupted():
                    client.set_terminated(run.run_id, "KILLED")
            else:
                is_ending |= bool(is_running)
        if not is_ending or time.monotonic() > deadline:
            return
        time.sleep(0.2)


def _latest(experiment_id: str, digest: str, code_version: str) -> RunRecord | None:
    same = f"tags.{DIGEST} = '{digest}' AND tags.code_version = '{code_version}'"
    runs = search_runs([experiment_id], same, limit=1)
    return runs[0] if runs else None
