"""A sweep as Hydra drives it: begun before its jobs, ended after them."""

from pipeline.sweep.driver import SweepCallback, end, expect, is_begun

__all__ = ["SweepCallback", "end", "expect", "is_begun"]
