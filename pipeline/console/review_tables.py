"""Likely wrong labels and hard rows on screen."""

from collections.abc import Iterator

import numpy as np
from rich.console import RenderableType

from pipeline.console.table_layout import make_table
from pipeline.errors import shorten
from pipeline.scoring.held_out import StoredPredictions
from pipeline.scoring.label_review import HardRow, Review, ids_by_row

MAX_CELLS = 15
MAX_ROWS = 8
MAX_NAMES = 60  # characters of a list of labels


def review_tables(review: Review, predictions: StoredPredictions) -> Iterator[RenderableType]:
    """Yield the likely wrong cells, the hardest rows, confused labels and unlabelled rows."""
    ids = ids_by_row(predictions, review)
    n_cells = len(np.unique(predictions.row)) * len(predictions.label_names)
    yield f"Labels that look wrong: {review.n_cells:,} of {n_cells:,} (rows x labels)"
    if review.cells:
        table = make_table("row", "label", "given", "probability >")
        for cell in review.cells[:MAX_CELLS]:
            given = "yes" if cell.given else "no"
            name = shorten(cell.label, MAX_NAMES)
            table.add_row(ids[cell.row], name, given, f"{cell.probability:.3f}")
        yield table
        if review.n_cells > MAX_CELLS:
            yield f"... and {review.n_cells - MAX_CELLS:,} more; -o FILE writes all"
    yield ""
    yield "Hardest rows"
    yield _rows(review.rows, ids)
    if review.pairs:
        yield ""
        yield "Confused labels"
        table = make_table("true, but missed", "predicted, but wrong", "rows >")
        for pair in review.pairs[:MAX_ROWS]:
            names = (shorten(name, MAX_NAMES) for name in (pair.true, pair.predicted))
            table.add_row(*names, f"{pair.n_rows}")
        yield table
    if review.unlabelled:
        yield ""
        yield f"Rows without a label that look labelled: {review.n_unlabelled:,}"
        yield _rows(review.unlabelled, ids)
    yield ""


def _rows(rows: tuple[HardRow, ...], ids: dict[int, str]) -> RenderableType:
    table = make_table("row", "loss >", "given", "predicted")
    for row in rows[:MAX_ROWS]:
        names = (
            shorten(", ".join(labels) or "none", MAX_NAMES) for labels in (row.given, row.predicted)
        )
        table.add_row(ids[row.row], f"{row.loss:.3f}", *names)
    return table
