"""A sweep as Hydra drives it: begun before its jobs, ended after them."""

from pipeline.sweep.driver import SweepCallback, end, is_begun

__all__ = ["SweepCallback", "end", "is_begun"]
