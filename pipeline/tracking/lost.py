"""What is known of a job whose process was lost, in the run that stands for it."""

import mlflow

from pipeline.tracking.children import children
from pipeline.tracking.limits import MAX_TAG
from pipeline.tracking.sweep import SweepJob
from pipeline.tracking.unstarted import leave_failed


def note_lost(job: SweepJob, reason: str) -> None:
    """End the run of a job that nothing works on any more, so that it can go on.

    A job that has no run yet is given one, marked FAILED.

    Args:
        job: The job.
        reason: What became of its process.
    """
    client = mlflow.MlflowClient()
    runs = list(children(job.sweep, f"tags.sweep_job = '{job.number}'"))
    for run in runs:
        if run.info.status == "RUNNING":
            client.set_tag(run.info.run_id, "failure", reason[:MAX_TAG])
            client.set_terminated(run.info.run_id, "KILLED")
    if not runs:
        leave_failed(job, reason)
