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
class Order:
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
class Parcel:
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


def make_order(
    context: HydraContext,
    config: DictConfig,
    task: TaskFunction,
    number: int,
    overrides: Sequence[str],
) -> Order:
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
    return Order(context, composed, task)


def pack(order: Order, n_cores: int, dumps: Callable[[Any], bytes]) -> Parcel:
    """Make a job ready to be sent.

    Args:
        order: The job.
        n_cores: How many cores it may keep busy.
        dumps: Pickles, functions of the main module included.
    """
    variables = {key: it for key, it in os.environ.items() if key.startswith(CREDENTIALS)}
    content = dumps((order, Singleton.get_state()))
    return Parcel(content, n_cores, str(Path.cwd()), variables)


def unpack_and_run(parcel: Parcel, again: bool = False) -> JobReturn:
    """Run a job in this process.

    Args:
        parcel: The job.
        again: Whether an earlier process was at it and is gone: the job goes on from there.
    """
    os.environ.update(parcel.variables)
    use_cores(parcel.n_cores)
    if Path(parcel.folder).is_dir():  # the same on every node, if it is there: relative paths hold
        os.chdir(parcel.folder)
        if parcel.folder not in sys.path:
            sys.path.insert(0, parcel.folder)
    order, state = loads(parcel.content)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(order.config)
    if again:
        end_run(order, "")
        with read_write(order.config):
            order.config.resume = True
    return run_job(
        hydra_context=order.context,
        task_function=order.task,
        config=order.config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def lost(order: Order, reason: str) -> JobReturn:
    """Return what comes of a job whose process was lost, and leave the reason in its run.

    Args:
        order: The job.
        reason: What is known of it, in one line.
    """
    from pipeline import console

    console.show_error(f"Job {order.number + 1} was lost: {reason}")
    with suppress(Exception):  # the store may be away; the end of the sweep tries again
        end_run(order, reason)
    overrides = list(order.config.hydra.overrides.task)
    return JobReturn(overrides, order.config, status=JobStatus.COMPLETED, _return_value=None)


def end_run(order: Order, reason: str) -> None:
    """End the run of a job that nothing works on any more, so that it can go on.

    Args:
        order: The job.
        reason: What became of its process; if not empty, a job without a run is given one for it.
    """
    from pipeline.config import load_tracking
    from pipeline.tracking import find_sweep, locate, mark_job_lost, open_store

    tracking = load_tracking(order.config)
    if tracking.parent_run_id:
        open_store(locate(tracking), tracking.experiment_name)
        sweep = find_sweep(tracking.parent_run_id)
        mark_job_lost(sweep.job(order.number, order.config.hydra.overrides.task), reason)
