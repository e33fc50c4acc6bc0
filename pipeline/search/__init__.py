"""Search: a Hydra sweeper that draws the next configurations from what came of earlier ones.

Only the plugin is imported with the command line; the rest waits until a search runs.
"""

from pipeline.search.plugin import TARGET, OptunaSweeper, register

__all__ = ["TARGET", "OptunaSweeper", "register"]
