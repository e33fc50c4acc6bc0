"""The launchers as Hydra sees them: light, for every command line registers them."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from pipeline.launcher.parcel import Order

RAY = "hydra_plugins.manyfold.RayLauncher"
SLURM = "hydra_plugins.manyfold.SlurmLauncher"


def register() -> None:
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
        from pipeline.launcher.parcel import make_order

        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        numbered = enumerate(job_overrides, start=initial_job_idx)
        orders = (
            make_order(self.context, self.config, self.task, number, overrides)
            for number, overrides in numbered
        )
        return self.run(orders)

    @abstractmethod
    def run(self, orders: "Iterable[Order]") -> list[JobReturn]:
        """Run jobs and return what came of each."""


class RayLauncher(RemoteLauncher):
    """Runs jobs as tasks of a Ray cluster."""

    def run(self, orders: "Iterable[Order]") -> list[JobReturn]:
        """Run jobs and return what came of each."""
        from pipeline.launcher.on_ray import run
        from pipeline.launcher.settings import read_ray

        return run(orders, read_ray(self.settings))


class SlurmLauncher(RemoteLauncher):
    """Runs jobs as one array job of Slurm."""

    def run(self, orders: "Iterable[Order]") -> list[JobReturn]:
        """Run jobs and return what came of each."""
        from pipeline.launcher.on_slurm import run
        from pipeline.launcher.settings import read_slurm

        return run(list(orders), read_slurm(self.settings))
