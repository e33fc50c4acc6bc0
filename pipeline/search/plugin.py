"""The sweeper as Hydra sees it: light, for every command line registers it."""

from typing import Any, ClassVar

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from pipeline.errors import UserError

TARGET = "hydra_plugins.manyfold.OptunaSweeper"


def register() -> None:
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
        from pipeline.search.loop import Search
        from pipeline.search.plan import make_plan

        plan = make_plan(self.settings, self.config, self.hydra_context.config_loader, arguments)
        search = Search(plan, self.config, self.launcher)
        try:
            return search.run()
        finally:
            OptunaSweeper.n_failed = search.n_failed
