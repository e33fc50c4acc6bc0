"""What people look at: tables, figures and a page from an `Evaluation`."""

from pathlib import Path

import pandas as pd

from pipeline.dataset import DataSummary
from pipeline.report.page import Origin, write_page
from pipeline.report.tables import folds_table, labels_table, predictions_table
from pipeline.runner import Evaluation

__all__ = [
    "Origin",
    "folds_table",
    "labels_table",
    "predictions_table",
    "write_report",
]


def write_report(
    folder: Path,
    evaluation: Evaluation,
    summary: DataSummary,
    origin: Origin,
    labels: pd.DataFrame,
) -> None:
    """Write `figures/*.png` and `report.html`, as far as the configuration asks for them.

    Args:
        folder: Where to.
        evaluation: All folds.
        summary: The data in numbers.
        origin: The run.
        labels: What `labels_table` makes of the evaluation.
    """
    config = evaluation.config.report
    pictures = []
    if config.figures:
        from pipeline.report.pictures import draw_pictures

        pictures = draw_pictures(evaluation, labels)
        (folder / "figures").mkdir()
        for picture in pictures:
            (folder / "figures" / f"{picture.name}.png").write_bytes(picture.png)
    if config.html:
        page = write_page(evaluation, summary, origin, labels, pictures)
        (folder / "report.html").write_text(page, encoding="utf-8")
