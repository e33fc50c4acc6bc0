"""Settings of the Ray and Slurm launchers; neither library is needed to check them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from pipeline.config import STRICT, Name, parse_settings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RayConfig:
    """The address of a Ray cluster and the resources of one job."""

    address: Name
    num_cpus: PositiveInt
    num_gpus: NonNegativeFloat
    memory_gb: PositiveFloat | None
    resources: dict[str, float]
    max_calls: NonNegativeInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlurmConfig:
    """The resources of one Slurm job, by submitit's names."""

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


def read_launcher_config(config_type: type[T], settings: Mapping[str, Any]) -> T:
    """Check the settings of `hydra.launcher`; Hydra's own, such as `_target_`, are ignored.

    Raises:
        UserError: If a value is invalid; the message names all invalid ones.
    """
    values = {key: value for key, value in settings.items() if not key.startswith("_")}
    return parse_settings(config_type, "hydra.launcher", values, depth=2)
