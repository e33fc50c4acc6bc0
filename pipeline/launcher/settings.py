"""The typed schemas of `conf/hydra/launcher/`."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.config.strict import STRICT, Name, read_settings

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


_RAY = TypeAdapter(RayConfig)
_SLURM = TypeAdapter(SlurmConfig)


def read_ray(settings: Mapping[str, Any]) -> RayConfig:
    """Return the settings, checked.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    return _read(_RAY, settings)


def read_slurm(settings: Mapping[str, Any]) -> SlurmConfig:
    """Return the settings, checked.

    Raises:
        UserError: If one is impossible; all such are named at once.
    """
    return _read(_SLURM, settings)


def _read(schema: TypeAdapter[T], settings: Mapping[str, Any]) -> T:
    given = {key: value for key, value in settings.items() if not key.startswith("_")}
    return read_settings(schema, KEY, given, depth=2)
