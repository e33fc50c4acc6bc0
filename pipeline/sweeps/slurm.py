"""Run the jobs of a sweep through Slurm."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from pickle import loads
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import cloudpickle
from hydra.core.utils import JobReturn
from submitit import AutoExecutor
from submitit.core.utils import FailedJobError, JobPaths, UncompletedJobError
from submitit.helpers import DelayedSubmission

from pipeline import console
from pipeline.runtime import core_variables
from pipeline.sweeps.remote_job import (
    ComposedJob,
    JobPayload,
    report_dead_job,
    run_payload,
    serialize,
)

if TYPE_CHECKING:
    from pipeline.sweeps.plugins import SlurmConfig

RESTART_COUNT = "SLURM_RESTART_COUNT"  # set by Slurm: how often it has queued this job again
SUBMITIT_NAMES = ("cpus_per_task", "mem_gb", "gpus_per_node", "timeout_min")  # without `slurm_`


class RestartableJob:
    """A task of the array that submitit can queue again; its payload is in a file."""

    def __call__(self, path: Path) -> JobReturn:
        """Run the job, or resume it after a restart, and delete its payload."""
        payload: JobPayload = loads(path.read_bytes())
        returned = run_payload(payload, is_restart=int(os.environ.get(RESTART_COUNT, 0)) > 0)
        path.unlink(missing_ok=True)
        return returned

    def checkpoint(self, path: Path) -> DelayedSubmission:
        """Return the submission that follows a timeout: the same job, as finished folds are saved.

        Called by submitit when the job is out of time.
        """
        return DelayedSubmission(self, path)


def run(jobs: Sequence[ComposedJob], config: "SlurmConfig") -> list[JobReturn]:
    """Run jobs as one array job and wait for it; one whose process died has the result None."""
    paths: list[Path] = []
    array_id = ""
    try:
        paths.extend(_write_payload(job, config) for job in jobs)
        submissions = _make_executor(config).map_array(RestartableJob(), paths)
        array_id = submissions[0].job_id.partition("_")[0]
        logs = config.folder.replace("%j", f"{array_id}_*")
        console.show(f"Submitted to Slurm as job {array_id}; logs: {logs}")
        return [_wait(job, submission) for job, submission in zip(jobs, submissions, strict=True)]
    except BaseException:
        if array_id:
            subprocess.run(["scancel", array_id], check=False)
        raise
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _write_payload(job: ComposedJob, config: "SlurmConfig") -> Path:
    """Write the payload of a job into the shared folder, for this user alone."""
    folder: Path = JobPaths.get_first_id_independent_folder(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"payload_{uuid4().hex}.pkl"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(cloudpickle.dumps(serialize(job, config.cpus_per_task, cloudpickle.dumps)))
    return path


def _make_executor(config: "SlurmConfig") -> AutoExecutor:
    executor = AutoExecutor(
        folder=config.folder, cluster="slurm", slurm_max_num_timeout=config.max_num_timeout
    )
    parameters = {key: value for key, value in asdict(config).items() if value is not None}
    del parameters["folder"], parameters["max_num_timeout"]
    n_cores = config.cpus_per_task
    exports = [
        f"export {key}=${{{key}:-{value}}}" for key, value in core_variables(n_cores).items()
    ]
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
    """Return the result of a job; one that failed, died or left no result does not stop others."""
    try:
        returned: JobReturn = submission.result()
        return returned
    except FailedJobError as error:
        trace = str(error).partition("-\n")[2].partition("\n-")[0]
        reason = (trace.strip() or str(error)).splitlines()[-1]
    except UncompletedJobError:
        reason = f"Slurm job {submission.job_id} is in state {submission.state}"
    except Exception as error:  # such as a file that was cut off
        kind = type(error).__name__
        reason = f"{submission.paths.result_pickle} cannot be read ({kind}: {error})"
    return report_dead_job(job, f"{reason}; see {submission.paths.stderr}")
