"""Run the jobs of a sweep through Slurm."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import cloudpickle
from hydra.core.utils import JobReturn
from submitit import AutoExecutor
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.helpers import DelayedSubmission

from pipeline import console
from pipeline.runtime import core_variables
from pipeline.sweeps.launcher_config import SlurmConfig
from pipeline.sweeps.remote_job import (
    ComposedJob,
    JobPayload,
    report_dead_job,
    run_payload,
    serialize,
)

RESTART_COUNT = "SLURM_RESTART_COUNT"  # set by Slurm: how often it has queued this job again
SUBMITIT_NAMES = ("cpus_per_task", "mem_gb", "gpus_per_node", "timeout_min")  # without `slurm_`


class RestartableJob:
    """A task of the array that submitit can queue again."""

    def __call__(self, payload: JobPayload) -> JobReturn:
        """Run the job, or resume it after a restart."""
        return run_payload(payload, is_restart=int(os.environ.get(RESTART_COUNT, 0)) > 0)

    def checkpoint(self, payload: JobPayload) -> DelayedSubmission:
        """Return the submission that follows a timeout: the same job, as finished folds are saved.

        Called by submitit when the job is out of time.
        """
        return DelayedSubmission(self, payload)


def run(jobs: Sequence[ComposedJob], config: SlurmConfig) -> list[JobReturn]:
    """Run jobs as one array job and wait for it; one whose process died has the result None."""
    payloads = [serialize(job, config.cpus_per_task, cloudpickle.dumps) for job in jobs]
    submissions = _make_executor(config).map_array(RestartableJob(), payloads)
    array_id = submissions[0].job_id.partition("_")[0]
    logs = config.folder.replace("%j", f"{array_id}_*")
    console.show(f"Submitted to Slurm as job {array_id}; logs: {logs}")
    try:
        return [_wait(job, submission) for job, submission in zip(jobs, submissions, strict=True)]
    except BaseException:
        subprocess.run(["scancel", array_id], check=False)
        raise


def _make_executor(config: SlurmConfig) -> AutoExecutor:
    executor = AutoExecutor(
        folder=config.folder, cluster="slurm", slurm_max_num_timeout=config.max_num_timeout
    )
    parameters = {key: value for key, value in asdict(config).items() if value is not None}
    del parameters["folder"], parameters["max_num_timeout"]
    n_cores = config.cpus_per_task
    exports = [f"export {key}=${{{key}:-{it}}}" for key, it in core_variables(n_cores).items()]
    exports.append(f"export SRUN_CPUS_PER_TASK={n_cores}")  # srun no longer takes it from sbatch
    parameters |= {"setup": [*config.setup, *exports], "job_name": "manyfold"}
    executor.update_parameters(
        **{
            key if key in SUBMITIT_NAMES else f"slurm_{key}": value
            for key, value in parameters.items()
        }
    )
    return executor


def _wait(job: ComposedJob, submission: Any) -> JobReturn:
    try:
        returned: JobReturn = submission.result()
    except FailedJobError as error:
        trace = str(error).partition("-\n")[2].partition("\n-")[0]
        cause = trace.strip().splitlines()[-1]
        return report_dead_job(job, f"{cause} (see {submission.paths.stderr})")
    except UncompletedJobError:
        return report_dead_job(
            job,
            f"Slurm job {submission.job_id} is in state {submission.state}; "
            f"see {submission.paths.stderr}",
        )
    return returned
