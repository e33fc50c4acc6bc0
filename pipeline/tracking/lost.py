"""The run of a job whose process is known to be lost."""

import mlflow

from pipeline.tracking.children import children
from pipeline.tracking.limits import MAX_TAG
from pipeline.tracking.sweep import SweepJob
from pipeline.tracking.unstarted import leave_failed


def mark_job_lost(job: SweepJob, reason: str) -> None:
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
        leave_failed(job, reason)
