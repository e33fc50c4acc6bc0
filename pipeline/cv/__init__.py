"""Cross-validation splitters for multi-label data."""

from pipeline.cv.diagnostics import SplitWarning, check_splits
from pipeline.cv.splitters import Split, inner_splits, make_splits, split_digest, validation_part
