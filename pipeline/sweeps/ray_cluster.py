"""Run the jobs of a sweep on a Ray cluster."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from hydra.core.utils import JobReturn
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.config import STRICT, Name, read_settings
from pipeline.errors import UserError
from pipeline.sweeps.remote_job import ComposedJob, end_run, report_dead_job, run_payload, serialize

KEY = "hydra.launcher"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RayConfig:
    """Which cluster, and what a job has of it."""

    address: Name
    num_cpus: PositiveInt
    num_gpus: NonNegativeFloat
    memory_gb: PositiveFloat | None
    resources: dict[str, float]
    max_calls: NonNegativeInt


_RAY = TypeAdapter(RayConfig)


def read_ray(settings: Mapping[str, Any]) -> RayConfig:
    """Return the settings, checked.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    return _read(_RAY, settings)


def _read(schema: TypeAdapter[T], settings: Mapping[str, Any]) -> T:
    given = {key: value for key, value in settings.items() if not key.startswith("_")}
    return read_settings(schema, KEY, given, depth=2)


SECONDS_TO_ANSWER = 5  # Ray itself waits for minutes
SECONDS_TO_END = 10.0  # for jobs that are told to
GIB = 2**30


def connect(address: str) -> None:
    """Join a cluster, or start one on this machine.

    Raises:
        UserError: If there is none at that address.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # every job's lines are its own
    if not sys.stdout.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    import ray

    if ray.is_initialized():
        return
    host, _, port = address.rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
        previous = signal.getsignal(signal.SIGTERM)
        ray.init(address=address, logging_level=logging.WARNING)
        signal.signal(signal.SIGTERM, previous)
    except (OSError, ValueError) as error:  # Ray's ConnectionError is Python's
        raise UserError(
            f"hydra.launcher.address: expected a Ray cluster that is running. Received: {address} "
            f"({str(error).strip().splitlines()[0]}). Start its head with `ray start --head`, and "
            "each other node with the command that this shows."
        ) from error


def run(jobs: Iterable[ComposedJob], config: RayConfig) -> list[JobReturn]:
    """Run jobs and return what came of each, whatever becomes of the processes of some.

    Args:
        jobs: The jobs.
        config: Which cluster, and what a job has of it.
    """
    connect(config.address)
    import ray

    options: dict[str, Any] = {
        "num_cpus": config.num_cpus,
        "num_gpus": config.num_gpus,
        "memory": config.memory_gb and int(config.memory_gb * GIB),
        "resources": config.resources,
        "max_retries": 0,  # else a job that was killed runs again, from its beginning
        "max_calls": config.max_calls,
    }
    remote_run = ray.remote(**options)(run_payload)
    started: list[tuple[ComposedJob, Any]] = []
    try:
        for job in jobs:
            payload = serialize(job, config.num_cpus, ray.cloudpickle.dumps)
            name = f"job {job.number + 1}"
            started.append((job, remote_run.options(name=name).remote(payload)))
        return [_wait(job, reference) for job, reference in started]
    except BaseException:
        _cancel({reference: job for job, reference in started})
        raise


def _wait(job: ComposedJob, reference: Any) -> JobReturn:
    import ray

    try:
        returned: JobReturn = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return report_dead_job(job, f"{type(error.cause).__name__}: {_first_line(error.cause)}")
    except ray.exceptions.RayError as error:
        return report_dead_job(job, _first_line(error))
    return returned


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _cancel(jobs: Mapping[Any, ComposedJob]) -> None:
    """Interrupt the jobs that run, by force those that do not end, and forget the others.

    Args:
        jobs: The jobs by Ray's references to them.
    """
    import ray

    for reference in jobs:
        ray.cancel(reference)
    left = list(jobs)
    if left:
        _, left = ray.wait(left, num_returns=len(left), timeout=SECONDS_TO_END)
    for reference in left:
        ray.cancel(reference, force=True)
        end_run(jobs[reference], "")
