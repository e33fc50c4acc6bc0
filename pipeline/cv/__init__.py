"""Which rows train and which rows test: index arrays, and nothing of models."""

from pipeline.cv.inner import inner_splits, validation_part
from pipeline.cv.kinds import make_splits
from pipeline.cv.split import Split, digest
from pipeline.cv.troubles import Trouble, find_troubles

__all__ = [
    "Split",
    "Trouble",
    "digest",
    "find_troubles",
    "inner_splits",
    "make_splits",
    "validation_part",
]
