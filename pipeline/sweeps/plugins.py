"""Launchers and sweepers that Hydra sees, and the checks before the first job."""

import re
import shutil
import socket
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from pipeline.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from pipeline.sweeps.remote_job import ComposedJob


RAY, SLURM = "hydra_plugins.manyfold.RayLauncher", "hydra_plugins.manyfold.SlurmLauncher"
BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def register_basic() -> None:
    """Let Hydra's sweeper look at each option once before the first job.

    It would compose every job then, to find what cannot be composed: minutes of silence before
    thousands. What it would find is an option. Hydra knows its own plugins by their place, so that
    a class of another place cannot stand for one.
    """
    known: dict[str, Any] = Plugins.instance().class_name_to_class
    known[BASIC].validate_batch_is_legal = _validate


def _validate(self: Sweeper, batch: Sequence[Sequence[str]]) -> None:
    seen: set[str] = set()
    telling = []
    for overrides in batch:
        if not seen.issuperset(overrides):
            seen.update(overrides)
            telling.append(overrides)
    Sweeper.validate_batch_is_legal(self, telling)


LIBRARIES = {RAY: ("ray", "ray"), SLURM: ("submitit", "slurm")}  # and the extras that bring them
PROGRAMS = ("sbatch", "srun", "scancel")
LOCAL = "local"  # the address of a Ray that is started on this machine, for this sweep
OF_ONE_MACHINE = re.compile(r"sqlite|file:|[./]")  # how the URIs of such stores begin


def make_ready(config: "DictConfig") -> None:
    """Refuse a remote launcher that could not work, and connect to its cluster.

    Args:
        config: What Hydra composed for the launching process.

    Raises:
        UserError: With the remedy.
    """
    target = config.hydra.launcher._target_
    if target not in LIBRARIES:
        return
    settings, name = config.hydra.launcher, config.hydra.runtime.choices["hydra/launcher"]
    if target == SLURM or settings.address != LOCAL:
        _check_shared_store(name, config.tracking.uri)
    library, extra = LIBRARIES[target]
    if find_spec(library) is None:
        raise UserError(
            f"hydra/launcher={name}: {library} is not installed. Install it: pip install "
            f"'manyfold[{extra}]'"
        )
    if target == RAY:
        from pipeline.sweeps.ray_cluster import connect

        connect(str(settings.address))
    elif missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise UserError(
            f"hydra/launcher={name}: expected Slurm's commands on the PATH. Missing: "
            f"{', '.join(missing)}. Run this where jobs are submitted, on a login node."
        )


def server_command(host: str, port: int = 5000) -> str:
    """Return the command that starts a tracking server for several machines.

    Args:
        host: Its name, as other machines know it.
        port: Where it listens.
    """
    lines = (
        f"mlflow server --host 0.0.0.0 --port {port} --app-name basic-auth",
        "--backend-store-uri postgresql+psycopg://manyfold@127.0.0.1:5432/mlflow",
        "--artifacts-destination /srv/mlflow/artifacts",
        f"--allowed-hosts {host}:{port},localhost:{port},127.0.0.1:{port}",
    )
    return " \\\n    ".join(lines)


def _check_shared_store(launcher: str, uri: str | None) -> None:
    if uri and not OF_ONE_MACHINE.match(uri):
        return
    host = socket.gethostname()
    raise UserError(
        f"hydra/launcher={launcher}: jobs on other machines cannot write to the SQLite store of "
        f"this one. Expected tracking.uri=http://..., a server that all of them reach. Received: "
        f"{uri or 'none, which is SQLite under mlruns/'}. Start one with\n"
        f"  {server_command(host)}\n"
        f"and repeat this command with tracking.uri=http://{host}:5000 . docs/scale-out.md has "
        "each step, the database and the passwords included.\n"
        "Name a folder that all machines share as tracking.checkpoints, too: without one, "
        "`resume=true` trains what was interrupted from its beginning."
    )


def register_launchers() -> None:
    """Make the launchers known to Hydra under the one kind of name that it takes.

    Hydra looks plugins up by name in this table. It refuses names outside the package
    hydra_plugins but never imports that package, so there is none.
    """
    Plugins.instance().class_name_to_class |= {RAY: RayLauncher, SLURM: SlurmLauncher}


class RemoteLauncher(Launcher):
    """Composes the jobs here and lets them run elsewhere."""

    context: HydraContext
    task: TaskFunction
    config: DictConfig

    def __init__(self, **settings: Any) -> None:
        """Keep the settings unchecked: what is refused here, Hydra would wrap."""
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra composed."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs and return what came of each; one that was lost returns None, as a failed one.

        Args:
            job_overrides: Overrides of each job.
            initial_job_idx: Number of the first.
        """
        from pipeline.sweeps.remote_job import compose_job

        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        numbered = enumerate(job_overrides, start=initial_job_idx)
        jobs = (
            compose_job(self.context, self.config, self.task, number, overrides)
            for number, overrides in numbered
        )
        return self.run(jobs)

    @abstractmethod
    def run(self, jobs: "Iterable[ComposedJob]") -> list[JobReturn]:
        """Run jobs and return what came of each."""


class RayLauncher(RemoteLauncher):
    """Runs jobs as tasks of a Ray cluster."""

    def run(self, jobs: "Iterable[ComposedJob]") -> list[JobReturn]:
        """Run jobs and return what came of each."""
        from pipeline.sweeps.ray_cluster import read_ray, run

        return run(jobs, read_ray(self.settings))


class SlurmLauncher(RemoteLauncher):
    """Runs jobs as one array job of Slurm."""

    def run(self, jobs: "Iterable[ComposedJob]") -> list[JobReturn]:
        """Run jobs and return what came of each."""
        from pipeline.sweeps.slurm import read_slurm, run

        return run(list(jobs), read_slurm(self.settings))


TARGET = "hydra_plugins.manyfold.OptunaSweeper"


def register_optuna() -> None:
    """Make the sweeper known to Hydra under the one kind of name that it takes.

    Hydra looks plugins up by name in this table. It refuses names outside the package
    hydra_plugins but never imports that package, so there is none.
    """
    Plugins.instance().class_name_to_class[TARGET] = OptunaSweeper


class OptunaSweeper(Sweeper):
    """Lets Optuna choose the next configurations from what came of earlier ones.

    Attributes:
        n_failed: How many trials of the last search failed, for the exit code.
    """

    n_failed: ClassVar[int] = 0
    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, **settings: Any) -> None:
        """Keep the settings unchecked: what is refused here, Hydra would wrap."""
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra composed."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Search and show the best.

        Args:
            arguments: The overrides of the command line.

        Raises:
            UserError: If Optuna is missing, or what is asked for cannot be searched.
        """
        try:
            import optuna  # noqa: F401 - the first to know
        except ModuleNotFoundError as error:
            raise UserError(
                "hydra/sweeper=optuna: expected Optuna to be installed. Received: "
                f"{error}. Install it: pip install 'manyfold[optuna]'"
            ) from error
        from pipeline.sweeps.optuna_sweeper import Search
        from pipeline.sweeps.search_plan import plan_search

        plan = plan_search(self.settings, self.config, self.hydra_context.config_loader, arguments)
        search = Search(plan, self.config, self.launcher)
        try:
            return search.run()
        finally:
            OptunaSweeper.n_failed = search.n_failed


def register() -> None:
    """Make the launchers and sweepers known to Hydra."""
    register_basic()
    register_launchers()
    register_optuna()
