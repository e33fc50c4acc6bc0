"""A run for a job of a sweep that failed before it had one, so that the leaderboard tells of it."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow

from pipeline.errors import UserError
from pipeline.process import this_process
from pipeline.tracking.alive import PROCESS
from pipeline.tracking.children import of_earlier_attempts, supersede
from pipeline.tracking.limits import MAX_TAG
from pipeline.tracking.resume import UnderWay
from pipeline.tracking.sweep import SweepJob


@contextmanager
def failures_kept(job: SweepJob) -> Iterator[None]:
    """Leave a run marked FAILED, with the reason, if what is done here raises."""
    try:
        yield
    except UnderWay:
        raise
    except Exception as error:
        refused = isinstance(error, UserError)
        reason = str(error) if refused else f"{type(error).__name__}: {error}"
        replaced = [run.info.run_id for run in of_earlier_attempts(job)]
        run_id = leave_failed(job, reason, traceback.format_exc())
        supersede(replaced, run_id)
        raise


def leave_failed(job: SweepJob, reason: str, trace: str = "") -> str:
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
