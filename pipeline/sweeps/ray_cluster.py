"""Run the jobs of a sweep on a Ray cluster."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import ray
from hydra.core.utils import JobReturn

from pipeline.errors import UserError, credential_variables
from pipeline.sweeps.remote_job import ComposedJob, end_run, report_dead_job, run_payload, serialize

if TYPE_CHECKING:
    from pipeline.sweeps.plugins import RayConfig

CONNECT_TIMEOUT = 5.0  # seconds; Ray itself waits for minutes
CANCEL_TIMEOUT = 10.0  # seconds until a cancelled job is killed
GIB = 2**30


def connect(address: str) -> None:
    """Connect to a Ray cluster, or start one on this machine.

    Args:
        address: `host:port`, `auto`, or `local` to start one.

    Raises:
        UserError: If no cluster answers at the address.
    """
    # Ray reads these when it connects: do not merge equal lines of different jobs, no colors in
    # a file.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if not sys.stdout.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    if ray.is_initialized():
        return
    host, _, port = address.rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
        previous = signal.getsignal(signal.SIGTERM)
        ray.init(address=address, logging_level=logging.WARNING)
        signal.signal(signal.SIGTERM, previous)
    except (OSError, ValueError) as error:  # Ray's ConnectionError is Python's
        raise UserError(
            f"hydra.launcher.address: no Ray cluster answers at {address} "
            f"({str(error).strip().splitlines()[0]}). Start its head with `ray start --head`, then "
            "each other node with the command that this prints."
        ) from error


def run(jobs: Iterable[ComposedJob], config: "RayConfig") -> list[JobReturn]:
    """Run jobs as Ray tasks; one whose process died has the result None."""
    connect(config.address)
    options: dict[str, Any] = {
        "num_cpus": config.num_cpus,
        "num_gpus": config.num_gpus,
        "memory": config.memory_gb and int(config.memory_gb * GIB),
        "resources": config.resources,
        "max_retries": 0,  # Ray would start a killed job again, from its beginning
        "max_calls": config.max_calls,
        # Ray's workers have the environment of their node; Slurm passes on that of `sbatch`.
        "runtime_env": {"env_vars": credential_variables()},
    }
    remote_run = ray.remote(**options)(run_payload)
    jobs_by_reference: dict[Any, ComposedJob] = {}
    try:
        for job in jobs:
            payload = serialize(job, config.num_cpus, ray.cloudpickle.dumps)
            task_name = f"job {job.number + 1}"
            jobs_by_reference[remote_run.options(name=task_name).remote(payload)] = job
        return [_wait(job, reference) for reference, job in jobs_by_reference.items()]
    except BaseException:
        _cancel(jobs_by_reference)
        raise


def _wait(job: ComposedJob, reference: Any) -> JobReturn:
    try:
        returned: JobReturn = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return report_dead_job(job, f"{type(error.cause).__name__}: {_first_line(error.cause)}")
    except ray.exceptions.RayError as error:
        return report_dead_job(job, _first_line(error))
    return returned


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _cancel(jobs_by_reference: Mapping[Any, ComposedJob]) -> None:
    """Interrupt running jobs, withdraw waiting ones, and kill those that do not end in time."""
    for reference in jobs_by_reference:
        ray.cancel(reference)
    unfinished = list(jobs_by_reference)
    if unfinished:
        _, unfinished = ray.wait(unfinished, num_returns=len(unfinished), timeout=CANCEL_TIMEOUT)
    for reference in unfinished:
        ray.cancel(reference, force=True)
        end_run(jobs_by_reference[reference], "")
