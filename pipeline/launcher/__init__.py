"""Launchers of a sweep's jobs on other machines: on a Ray cluster, through Slurm.

Only the plugins are imported with the command line; the rest waits until a sweep runs. Hydra's own
plugins for both end a sweep with the first job whose process is lost; these go on.
"""

from pipeline.launcher.plugin import register
from pipeline.launcher.refusals import make_ready

__all__ = ["make_ready", "register"]
