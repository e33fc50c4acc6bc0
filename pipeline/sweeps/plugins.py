"""Hydra plugins (launchers, sweeper), their settings, and checks before the first job."""

import os
import re
import shutil
import socket
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from pipeline.config import STRICT, Name, parse_settings
from pipeline.errors import TRACKING_URI, UserError
from pipeline.sweeps.composition import load_sweep_config, validate_each_option_once

if TYPE_CHECKING:
    from pipeline.sweeps.remote_job import ComposedJob

T = TypeVar("T")

RAY_LAUNCHER = "hydra_plugins.manyfold.RayLauncher"
SLURM_LAUNCHER = "hydra_plugins.manyfold.SlurmLauncher"
OPTUNA_SWEEPER = "hydra_plugins.manyfold.OptunaSweeper"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def register() -> None:
    """Register the plugins with Hydra; call it before Hydra composes a configuration.

    Hydra looks plugins up in a table of names and instantiates only names that begin with
    `hydra_plugins.`. Its own `Plugins.register` enters a class under its module, which here is
    `pipeline.sweeps.plugins`, and Hydra then rejects that name. So the names are entered directly;
    a package `hydra_plugins` is not needed, as Hydra never imports it for a name of the table.
    """
    plugins: dict[str, Any] = Plugins.instance().class_name_to_class
    plugins |= {
        RAY_LAUNCHER: RayLauncher,
        SLURM_LAUNCHER: SlurmLauncher,
        OPTUNA_SWEEPER: OptunaSweeper,
    }
    plugins[BASIC_SWEEPER].validate_batch_is_legal = validate_each_option_once
    ConfigLoaderImpl.load_sweep_config = load_sweep_config  # type: ignore[method-assign]


PACKAGES = {RAY_LAUNCHER: ("ray", "ray"), SLURM_LAUNCHER: ("submitit", "slurm")}  # and extras
SLURM_COMMANDS = ("sbatch", "srun", "scancel")
NEW_CLUSTER = "local"  # address that starts Ray on this machine
LOCAL_STORE = re.compile(r"sqlite|file:|[./]")  # beginnings of URIs that only this machine can open


def prepare_launcher(config: DictConfig) -> None:
    """Check that a remote launcher can work, and connect to its Ray cluster.

    Raises:
        UserError: If the store, a package, a command or the cluster is missing.
    """
    target = config.hydra.launcher._target_
    if target not in PACKAGES:
        return
    settings, name = config.hydra.launcher, config.hydra.runtime.choices["hydra/launcher"]
    if target == SLURM_LAUNCHER or settings.address != NEW_CLUSTER:
        _check_shared_store(name, config.tracking.uri or os.environ.get(TRACKING_URI))
    package, extra = PACKAGES[target]
    if find_spec(package) is None:
        raise UserError(
            f"hydra/launcher={name}: {package} is not installed. Install it: pip install "
            f"'manyfold[{extra}]'"
        )
    if target == RAY_LAUNCHER:
        from pipeline.sweeps.ray_cluster import connect

        connect(str(settings.address))
    elif missing := [program for program in SLURM_COMMANDS if shutil.which(program) is None]:
        raise UserError(
            f"hydra/launcher={name}: Slurm's commands are not on the PATH. Missing: "
            f"{', '.join(missing)}. Run this on a login node, where jobs are submitted."
        )


def server_command(host: str, port: int = 5000) -> str:
    """Return the shell command that starts an MLflow server for several machines."""
    lines = (
        f"mlflow server --host 0.0.0.0 --port {port} --app-name basic-auth",
        "--backend-store-uri postgresql+psycopg://manyfold@127.0.0.1:5432/mlflow",
        "--artifacts-destination /srv/mlflow/artifacts",
        f"--allowed-hosts {host}:{port},localhost:{port},127.0.0.1:{port}",
    )
    return " \\\n    ".join(lines)


def _check_shared_store(launcher: str, uri: str | None) -> None:
    if uri and not LOCAL_STORE.match(uri):
        return
    host = socket.gethostname()
    raise UserError(
        f"hydra/launcher={launcher}: jobs on other machines cannot write to a store of this one. "
        "Expected tracking.uri=http://..., an MLflow server that all machines reach. Received: "
        f"{uri or 'none, which is SQLite under mlruns/'}. Start a server with\n"
        f"  {server_command(host)}\n"
        f"and repeat this command with tracking.uri=http://{host}:5000 . docs/scale-out.md "
        "describes each step, with the database and the passwords.\n"
        "Set tracking.checkpoint_dir to a folder that all machines share, too: without one, "
        "`resume=true` trains interrupted jobs from the beginning."
    )


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


class RemoteLauncher(Launcher):
    """Base of launchers that compose jobs here and run them in other processes."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig

    def __init__(self, **settings: Any) -> None:
        """Keep the settings; checking them here would wrap a `UserError` in Hydra's own error."""
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store Hydra's context, the task and the sweep's configuration."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs; one whose process died has the result None, like a failed one."""
        from pipeline.sweeps.remote_job import compose_job

        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = (
            compose_job(self.context, self.config, self.task, number, overrides)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        )
        return self.run(jobs)

    @abstractmethod
    def run(self, jobs: "Iterable[ComposedJob]") -> list[JobReturn]:
        """Run composed jobs and return one result per job."""


class RayLauncher(RemoteLauncher):
    """Runs jobs as tasks of a Ray cluster."""

    def run(self, jobs: "Iterable[ComposedJob]") -> list[JobReturn]:
        """Run composed jobs and return one result per job."""
        from pipeline.sweeps.ray_cluster import run

        return run(jobs, read_launcher_config(RayConfig, self.settings))


class SlurmLauncher(RemoteLauncher):
    """Runs jobs as one array job of Slurm."""

    def run(self, jobs: "Iterable[ComposedJob]") -> list[JobReturn]:
        """Run composed jobs and return one result per job."""
        from pipeline.sweeps.slurm import run

        return run(list(jobs), read_launcher_config(SlurmConfig, self.settings))


class OptunaSweeper(Sweeper):
    """Searches with Optuna: each batch of jobs depends on the results of the previous ones.

    Attributes:
        n_failed: Number of failed trials of the last search, for the exit code.
    """

    n_failed: ClassVar[int] = 0
    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, **settings: Any) -> None:
        """Keep the settings; checking them here would wrap a `UserError` in Hydra's own error."""
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store Hydra's context and the sweep's configuration, and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Search and print a report.

        Raises:
            UserError: If Optuna is not installed, or the search is not possible.
        """
        try:
            import optuna  # noqa: F401 - to name the extra if it is missing
        except ModuleNotFoundError as error:
            raise UserError(
                "hydra/sweeper=optuna: Optuna is not installed. Install it: pip install "
                "'manyfold[optuna]'"
            ) from error
        from pipeline.sweeps.search import Search
        from pipeline.sweeps.search_plan import plan_search

        plan = plan_search(self.settings, self.config, self.hydra_context.config_loader, arguments)
        search = Search(plan, self.config, self.launcher)
        try:
            return search.run()
        finally:
            OptunaSweeper.n_failed = search.n_failed
