"""Serialize a job, run it in another process, and report it if that process dies."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import loads
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from pipeline.errors import mask
from pipeline.runtime import limit_cores

# A worker imports this module to unpickle its job. NumPy and what builds on it read their number
# of threads when they are imported, so `run_payload` sets it first and nothing heavy stands here.


@dataclass(frozen=True)
class ComposedJob:
    """A job with its composed configuration.

    Attributes:
        context: Hydra's configuration loader and callbacks.
        config: The job's configuration, Hydra's own part included.
        task: The function that runs the job.
    """

    context: HydraContext
    config: DictConfig
    task: TaskFunction

    @property
    def number(self) -> int:
        """Number of the job in the sweep, from 0."""
        return int(self.config.hydra.job.num)


@dataclass(frozen=True)
class JobPayload:
    """A serialized job and the process state that it needs; no passwords.

    Attributes:
        content: The `ComposedJob` and Hydra's global state, pickled. The other attributes take
            effect before it is unpickled, as that imports modules.
        n_cores: Number of cores that the job may use.
        working_directory: Working directory of the command.
    """

    content: bytes
    n_cores: int
    working_directory: str


def compose_job(
    context: HydraContext,
    config: DictConfig,
    task: TaskFunction,
    number: int,
    overrides: Sequence[str],
) -> ComposedJob:
    """Compose a job from the sweep's configuration, its number from 0, and its overrides."""
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    return ComposedJob(context, composed, task)


def serialize(job: ComposedJob, n_cores: int, dumps: Callable[[Any], bytes]) -> JobPayload:
    """Serialize a job for another process.

    Args:
        job: The job.
        n_cores: Number of cores that the job may use.
        dumps: A pickler that takes functions of `__main__`, such as `cloudpickle.dumps`.
    """
    content = dumps((job, Singleton.get_state()))
    return JobPayload(content, n_cores, str(Path.cwd()))


def run_payload(payload: JobPayload, is_restart: bool = False) -> JobReturn:
    """Run a serialized job in this process; after a restart, it resumes its run."""
    limit_cores(payload.n_cores)
    # Relative paths of the command hold where a node has the same folder.
    if Path(payload.working_directory).is_dir():
        os.chdir(payload.working_directory)
        if payload.working_directory not in sys.path:
            sys.path.insert(0, payload.working_directory)
    job, hydra_state = loads(payload.content)
    setup_globals()
    Singleton.set_state(hydra_state)
    HydraConfig.instance().set_config(job.config)
    if is_restart:
        end_run(job, "")
        with read_write(job.config):
            job.config.resume = True
    return run_job(
        hydra_context=job.context,
        task_function=job.task,
        config=job.config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def report_dead_job(job: ComposedJob, reason: str) -> JobReturn:
    """Print and record that the process of a job has died; its result is None."""
    print(mask(f"Job {job.number + 1} has no result: {reason}"), file=sys.stderr)
    with suppress(Exception):  # no store to write to: the end of the sweep tries again
        end_run(job, reason)
    overrides = list(job.config.hydra.overrides.task)
    return JobReturn(overrides, job.config, status=JobStatus.COMPLETED, _return_value=None)


def end_run(job: ComposedJob, reason: str) -> None:
    """End the MLflow run of a job whose process has ended, so that it can be resumed.

    If there is a reason to record, a job without a run gets a failed one.
    """
    from pipeline.tracking import end_dead_job, find_sweep, open_store, store_at

    tracking = job.config.tracking
    if tracking.parent_run_id:
        open_store(store_at(tracking.uri), tracking.experiment_name)
        sweep = find_sweep(tracking.parent_run_id)
        end_dead_job(sweep.job(job.number, job.config.hydra.overrides.task), reason)
