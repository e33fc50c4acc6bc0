"""Run the jobs of a sweep through Slurm."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hydra.core.utils import JobReturn
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline import console
from pipeline.config import STRICT, Name
from pipeline.runtime import as_variables
from pipeline.sweeps.ray_cluster import _read
from pipeline.sweeps.remote_job import (
    ComposedJob,
    JobPayload,
    report_dead_job,
    run_payload,
    serialize,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlurmConfig:
    """What a job asks Slurm for, by submitit's names."""

    folder: Name
    partition: Name | None
    account: Name | None
    qos: Name | None
    constraint: Name | None
    cpus_per_task: PositiveInt
    mem_gb: PositiveFloat | None
    gpus_per_node: PositiveInt | None
    timeout_min: PositiveInt
    max_num_timeout: NonNegativeInt
    array_parallelism: PositiveInt
    setup: tuple[str, ...]
    additional_parameters: dict[str, str | int | float | bool]


_SLURM = TypeAdapter(SlurmConfig)


def read_slurm(settings: Mapping[str, Any]) -> SlurmConfig:
    """Return the settings, checked.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    return _read(_SLURM, settings)


RESTARTS = "SLURM_RESTART_COUNT"  # how often Slurm has queued a job again, for whatever reason


class Job:
    """What a job of the array runs; submitit queues it again when its time is over."""

    def __call__(self, payload: JobPayload) -> JobReturn:
        """Run the job, or go on with it."""
        return run_payload(payload, again=int(os.environ.get(RESTARTS, 0)) > 0)

    def checkpoint(self, payload: JobPayload) -> Any:
        """Return what to queue: the same; folds that are finished are files already."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, payload)


def run(jobs: Sequence[ComposedJob], config: SlurmConfig) -> list[JobReturn]:
    """Run jobs and return what came of each, whatever becomes of the processes of some.

    Args:
        jobs: The jobs.
        config: What each asks Slurm for.
    """
    import cloudpickle

    parcels = [serialize(job, config.cpus_per_task, cloudpickle.dumps) for job in jobs]
    submitted = _executor(config).map_array(Job(), parcels)
    array = submitted[0].job_id.partition("_")[0]
    logs = config.folder.replace("%j", f"{array}_*")
    console.show(f"Submitted to Slurm as job {array}; the jobs write to {logs}")
    try:
        return [_wait(job, submission) for job, submission in zip(jobs, submitted, strict=True)]
    except BaseException:
        subprocess.run(["scancel", array], check=False)
        raise


def _executor(config: SlurmConfig) -> Any:
    """Return what writes the script of the array and submits it."""
    from submitit import AutoExecutor

    executor = AutoExecutor(
        folder=config.folder, cluster="slurm", slurm_max_num_timeout=config.max_num_timeout
    )
    asked = {key: value for key, value in asdict(config).items() if value is not None}
    del asked["folder"], asked["max_num_timeout"]
    n_cores = config.cpus_per_task
    exports = [f"export {key}=${{{key}:-{it}}}" for key, it in as_variables(n_cores).items()]
    exports.append(f"export SRUN_CPUS_PER_TASK={n_cores}")  # srun no longer takes it from sbatch
    everywhere = ("cpus_per_task", "mem_gb", "gpus_per_node", "timeout_min")
    own = {"setup": [*config.setup, *exports], "job_name": "manyfold"}
    executor.update_parameters(
        **{key if key in everywhere else f"slurm_{key}": it for key, it in (asked | own).items()}
    )
    return executor


def _wait(job: ComposedJob, submission: Any) -> JobReturn:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        returned: JobReturn = submission.result()
    except FailedJobError as error:
        trace = str(error).partition("-\n")[2].partition("\n-")[0]
        return report_dead_job(
            job, f"{trace.strip().splitlines()[-1]} (see {submission.paths.stderr})"
        )
    except UncompletedJobError:
        return report_dead_job(
            job,
            f"Slurm says {submission.state} of job {submission.job_id}; "
            f"see {submission.paths.stderr}",
        )
    return returned
