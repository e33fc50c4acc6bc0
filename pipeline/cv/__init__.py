"""Cross-validation splitters for multi-label data."""

from pipeline.cv.diagnostics import SplitWarning, check_splits
from pipeline.cv.splitters import Split, digest, inner_splits, make_splits, validation_part
