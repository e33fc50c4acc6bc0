"""Cross-validation splitters for multi-label data."""

from pipeline.cv.diagnostics import Trouble, find_troubles
from pipeline.cv.splitters import Split, digest, inner_splits, make_splits, validation_part
