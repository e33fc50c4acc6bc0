"""Cross-validation splitters for multi-label data."""

from pipeline.cv.diagnostics import SplitWarning, check_splits
from pipeline.cv.outer_folds import OUTER, inner_prefix, make_nested_splits
from pipeline.cv.splitters import Split, inner_splits, make_splits, split_digest, validation_part
