"""Jobs as one array job of Slurm, through submitit."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hydra.core.utils import JobReturn

from pipeline import console
from pipeline.cores import as_variables
from pipeline.launcher.parcel import Order, Parcel, lost, pack, unpack_and_run
from pipeline.launcher.settings import SlurmConfig

RESTARTS = "SLURM_RESTART_COUNT"  # how often Slurm has queued a job again, for whatever reason


class Job:
    """What a job of the array runs; submitit queues it again when its time is over."""

    def __call__(self, parcel: Parcel) -> JobReturn:
        """Run the job, or go on with it."""
        return unpack_and_run(parcel, again=int(os.environ.get(RESTARTS, 0)) > 0)

    def checkpoint(self, parcel: Parcel) -> Any:
        """Return what to queue: the same; folds that are finished are files already."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, parcel)


def run(orders: Sequence[Order], config: SlurmConfig) -> list[JobReturn]:
    """Run jobs and return what came of each, whatever becomes of the processes of some.

    Args:
        orders: The jobs.
        config: What each asks Slurm for.
    """
    import cloudpickle

    parcels = [pack(order, config.cpus_per_task, cloudpickle.dumps) for order in orders]
    submitted = _executor(config).map_array(Job(), parcels)
    array = submitted[0].job_id.partition("_")[0]
    logs = config.folder.replace("%j", f"{array}_*")
    console.show(f"Submitted to Slurm as job {array}; the jobs write to {logs}")
    try:
        return [_wait(order, job) for order, job in zip(orders, submitted, strict=True)]
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


def _wait(order: Order, job: Any) -> JobReturn:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        returned: JobReturn = job.result()
    except FailedJobError as error:
        trace = str(error).partition("-\n")[2].partition("\n-")[0]
        return lost(order, f"{trace.strip().splitlines()[-1]} (see {job.paths.stderr})")
    except UncompletedJobError:
        return lost(order, f"Slurm says {job.state} of job {job.job_id}; see {job.paths.stderr}")
    return returned
