"""Find a previous run to reuse or continue."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import mlflow

from pipeline.runtime import uninterrupted
from pipeline.tracking.heartbeat import (
    PROCESS,
    SEEN,
    RunActiveError,
    describe_process,
    is_active,
    this_process,
)
from pipeline.tracking.run_reader import RunRecord, search_runs, to_record
from pipeline.tracking.store import STOPPED, STOPPED_BECAUSE, SUPERSEDED, Store, locked
from pipeline.tracking.sweep import SweepJob, children, previous_job_runs

FAILURE = "failure"  # tag: why a run did not finish
N_LATEST = 100  # runs with the same fingerprint to search for one outside sweeps
SECONDS_TO_SETTLE = 2.0  # between writing the owner's tag to a server and reading it back


@dataclass(frozen=True)
class PreviousRun:
    """The previous run of a configuration, if there is one.

    Attributes:
        run_id: Id of the run to reuse or continue, or None.
        is_finished: Whether the run is finished, so that nothing is left to train.
        metrics: Its metrics.
        failed: Id of a failed run with the same fingerprint, whose finished folds are valid.
        process: Id of the process that worked on the run to continue, and is dead.
        replaced: Ids of the runs that the run of the job supersedes.
        n_fits_skipped: Fits that racing skipped; above 0, the run has only the first repeat.
    """

    run_id: str | None = None
    is_finished: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None
    process: str | None = None
    replaced: tuple[str, ...] = ()
    n_fits_skipped: int = 0


def find_previous_run(
    experiment_id: str,
    fingerprint: Mapping[str, str],
    job: SweepJob | None,
    params: Mapping[str, str] | None = None,
) -> PreviousRun:
    """Find the latest run with the same fingerprint: in the sweep of the job, or outside sweeps.

    Args:
        experiment_id: Experiment of runs outside sweeps.
        fingerprint: Its tags.
        job: The job of a sweep, or None.
        params: Logged params that the run must have as well, though they change no score. In a
            sweep, the run of the job supersedes those without them.

    Raises:
        RunActiveError: If another process works on that run.
    """
    same = " AND ".join(f"tags.{key} = '{value}'" for key, value in fingerprint.items())
    others = previous_job_runs(job) if job else []
    if job is None:
        latest_runs = search_runs([experiment_id], same, limit=N_LATEST)
        runs = [run for run in latest_runs if run.parent is None]
    elif job.sweep.plan.in_order:
        runs = children(job.sweep, f"tags.sweep_job = '{job.number}' AND {same}")
    else:
        runs = children(job.sweep, same)
    incomplete = [run for run in runs if not (params or {}).items() <= run.params.items()]
    runs = [run for run in runs if run not in incomplete]
    others += incomplete if job else []
    if not runs:
        return PreviousRun(replaced=_ids(others))
    latest = runs[0]
    if is_active(latest):
        raise _active_error(latest)
    n_fits_skipped = int(latest.metrics.get("fits_saved", 0))
    if latest.status == "FAILED":
        return PreviousRun(failed=latest.run_id, replaced=_ids(others))
    return PreviousRun(
        run_id=latest.run_id,
        # Of a run that was stopped early and then continued, the metrics are older than the tags.
        is_finished=latest.status == "FINISHED"
        and "seconds" in latest.metrics
        and latest.is_stopped_early == bool(n_fits_skipped),
        metrics=latest.metrics,
        process=latest.tags.get(PROCESS),
        n_fits_skipped=n_fits_skipped if latest.is_stopped_early else 0,
        replaced=_ids(run for run in others if run.run_id != latest.run_id),
    )


@uninterrupted()
def list_again(run_id: str) -> None:
    """Remove the tags that keep a previous run out of its sweep's leaderboard."""
    _delete_tags(run_id, SUPERSEDED, FAILURE)


def claim_run(store: Store, run_id: str, dead_process: str | None) -> None:
    """Make this process the owner of a run that it continues, and no longer call it stopped early.

    Of two processes that continue the same run at once, one is refused. An SQLite store is locked
    meanwhile. A server has no lock: there, both may write the owner's tag, and the one that does
    not read its own a moment later is refused.

    Args:
        store: The store.
        run_id: Id of the run.
        dead_process: Id of the process that worked on it.

    Raises:
        RunActiveError: If another process owns the run.
    """
    client, owner = mlflow.MlflowClient(), this_process()
    with locked(store):
        run = to_record(client.get_run(run_id))
        if run.status == "RUNNING" and run.tags.get(PROCESS) != dead_process:
            raise _active_error(run)
        try:
            with uninterrupted():
                client.set_tag(run_id, PROCESS, owner)
                client.set_tag(run_id, SEEN, f"{time.time():.0f}")
                client.update_run(run_id, status="RUNNING")
                if not store.database:
                    time.sleep(SECONDS_TO_SETTLE)
                run = to_record(client.get_run(run_id))
                if run.tags[PROCESS] != owner:
                    raise _active_error(run)
                _delete_tags(run_id, SUPERSEDED, FAILURE, STOPPED, STOPPED_BECAUSE)
        except (KeyboardInterrupt, SystemExit):
            client.set_terminated(run_id, "KILLED")
            raise


def _delete_tags(run_id: str, *tags: str) -> None:
    client = mlflow.MlflowClient()
    for tag in set(tags) & set(client.get_run(run_id).data.tags):
        client.delete_tag(run_id, tag)


def _active_error(run: RunRecord) -> RunActiveError:
    process = describe_process(run.tags[PROCESS]) if PROCESS in run.tags else "another process"
    return RunActiveError(
        f"resume: run {run.run_id} is being written by {process}. Wait until it ends, or end it."
    )


def _ids(runs: Iterable[RunRecord]) -> tuple[str, ...]:
    return tuple(run.run_id for run in runs)
