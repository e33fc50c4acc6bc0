"""Sweeps and searches: the launchers, sweepers and callback that Hydra drives."""

from pipeline.sweeps.callback import SweepCallback, end, is_begun
from pipeline.sweeps.plugins import OPTUNA_SWEEPER, OptunaSweeper, register
