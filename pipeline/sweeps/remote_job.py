"""A job on its way to another process: composed here, run there, told of where it is lost."""

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

from pipeline.runtime import use_cores

CREDENTIALS = "MLFLOW_TRACKING_"  # variables that jobs need where the server asks who they are


@dataclass(frozen=True)
class ComposedJob:
    """A job as it was composed.

    Attributes:
        context: Hydra's loader of configurations, and its callbacks.
        config: What it composed for the job.
        task: What does the job.
    """

    context: HydraContext
    config: DictConfig
    task: TaskFunction

    @property
    def number(self) -> int:
        """The job's place in the sweep, from 0."""
        return int(self.config.hydra.job.num)


@dataclass(frozen=True)
class JobPayload:
    """A job as it is sent.

    Attributes:
        content: The order and Hydra's own state, pickled; unpacked after the rest has its effect.
        n_cores: How many cores the job may keep busy.
        folder: Working directory of the command.
        variables: Of the command's environment.
    """

    content: bytes
    n_cores: int
    folder: str
    variables: dict[str, str]


def compose_job(
    context: HydraContext,
    config: DictConfig,
    task: TaskFunction,
    number: int,
    overrides: Sequence[str],
) -> ComposedJob:
    """Compose a job.

    Args:
        context: Hydra's loader of configurations, and its callbacks.
        config: What it composed for the sweep.
        task: What does the job.
        number: Its place in the sweep, from 0.
        overrides: What sets it apart.
    """
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.num, composed.hydra.job.id = number, str(number)
    return ComposedJob(context, composed, task)


def serialize(job: ComposedJob, n_cores: int, dumps: Callable[[Any], bytes]) -> JobPayload:
    """Make a job ready to be sent.

    Args:
        job: The job.
        n_cores: How many cores it may keep busy.
        dumps: Pickles, functions of the main module included.
    """
    variables = {key: it for key, it in os.environ.items() if key.startswith(CREDENTIALS)}
    content = dumps((job, Singleton.get_state()))
    return JobPayload(content, n_cores, str(Path.cwd()), variables)


def run_payload(payload: JobPayload, again: bool = False) -> JobReturn:
    """Run a job in this process.

    Args:
        payload: The job.
        again: Whether an earlier process was at it and is gone: the job goes on from there.
    """
    os.environ.update(payload.variables)
    use_cores(payload.n_cores)
    if Path(payload.folder).is_dir():  # the same on every node, if it is there: relative paths hold
        os.chdir(payload.folder)
        if payload.folder not in sys.path:
            sys.path.insert(0, payload.folder)
    job, state = loads(payload.content)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(job.config)
    if again:
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
    """Return what comes of a job whose process was lost, and leave the reason in its run.

    Args:
        job: The job.
        reason: What is known of it, in one line.
    """
    from pipeline import console

    console.show_error(f"Job {job.number + 1} was lost: {reason}")
    with suppress(Exception):  # the store may be away; the end of the sweep tries again
        end_run(job, reason)
    overrides = list(job.config.hydra.overrides.task)
    return JobReturn(overrides, job.config, status=JobStatus.COMPLETED, _return_value=None)


def end_run(job: ComposedJob, reason: str) -> None:
    """End the run of a job that nothing works on any more, so that it can go on.

    Args:
        job: The job.
        reason: What became of its process; if not empty, a job without a run is given one for it.
    """
    from pipeline.config import load_tracking
    from pipeline.tracking import end_dead_job, find_sweep, locate, open_store

    tracking = load_tracking(job.config)
    if tracking.parent_run_id:
        open_store(locate(tracking), tracking.experiment_name)
        sweep = find_sweep(tracking.parent_run_id)
        end_dead_job(sweep.job(job.number, job.config.hydra.overrides.task), reason)
