"""A sweep as Hydra drives it: begun before its jobs, ended after them."""

from pipeline.sweep.driver import SweepCallback, end, expect, is_begun
from pipeline.sweep.plugin import register

__all__ = ["SweepCallback", "end", "expect", "is_begun", "register"]
