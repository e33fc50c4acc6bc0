"""Sweeps and searches: the launchers, sweepers and callback that Hydra drives."""

from pipeline.sweeps.callback import SweepCallback, end, expect, is_begun
from pipeline.sweeps.plugins import TARGET, OptunaSweeper, register
