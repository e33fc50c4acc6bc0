"""Write the files of a run into a folder: settings, tables, model card, figures and page."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks import Finding, to_table
from pipeline.comparison import (
    ExpectedScore,
    Leaderboard,
    NestedScores,
    to_json_table,
)
from pipeline.config import Config, to_yaml
from pipeline.dataset import DataSummary
from pipeline.evaluation.fold_results import Evaluation
from pipeline.model.saved_model import MODEL_CARD
from pipeline.report.model_card import format_model_card
from pipeline.report.page import write_page
from pipeline.report.run_info import RunInfo
from pipeline.report.tables import (
    TRAINING,
    feature_importance,
    folds_table,
    labels_table,
    outer_folds_table,
    predictions_table,
    training_table,
)
from pipeline.runtime import heavy_imports
from pipeline.scoring.feature_importance import IMPORTANCE_FILE, FeatureImportance
from pipeline.scoring.held_out import OUTER_FOLDS, PREDICTIONS

TABLES = ("folds.json", "labels.json")
WARNINGS = "warnings.json"
PAGE = "report.html"
CHECKS = "checks.json"
LEADERBOARD = "leaderboard.json"
MAX_CELLS = 2_000_000  # predictions that are written at once, or those of one fold
NESTED = "nested.json"


def write_inputs(folder: Path, config: Config, summary: DataSummary) -> None:
    """Write what is known before training: configuration and data summary."""
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(summary.as_dict(), indent=2))


def write_label_figure(folder: Path, summary: DataSummary) -> None:
    """Draw the label frequencies."""
    (folder / "figures").mkdir()
    (folder / "figures" / "labels.png").write_bytes(_figures().label_frequencies_png(summary))


def write_result(
    folder: Path,
    evaluation: Evaluation,
    summary: DataSummary,
    run_info: RunInfo,
    findings: Sequence[Finding] = (),
    *,
    has_report: bool = False,
) -> None:
    """Write the predictions in a thread, and meanwhile tables, warnings, model card and report.

    Args:
        folder: An empty folder.
        evaluation: The evaluation.
        summary: Summary of the data set.
        run_info: The run, for the model card and the report.
        findings: Findings of the checks.
        has_report: Write the figures and the page as well, if they are configured.
    """
    with ThreadPoolExecutor(1) as thread:
        predictions = thread.submit(write_predictions, folder / PREDICTIONS, evaluation)
        labels = labels_table(evaluation)
        tables = dict(zip(TABLES, (folds_table(evaluation), labels), strict=True))
        if evaluation.outer:
            tables[OUTER_FOLDS] = outer_folds_table(evaluation)
        for name, table in tables.items():
            columns = table.to_dict(orient="split", index=False)
            (folder / name).write_text(json.dumps(_without_nan(columns)))
        (folder / CHECKS).write_text(json.dumps(to_table(findings)))
        (folder / WARNINGS).write_text(json.dumps(evaluation.warnings))
        importance = write_importance(folder, evaluation)
        training_table(evaluation).to_parquet(folder / TRAINING)
        if evaluation.final:
            card = format_model_card(evaluation, summary, run_info, labels, findings)
            (folder / MODEL_CARD).write_text(card, encoding="utf-8")
        if has_report:
            write_report(folder, evaluation, summary, run_info, labels, findings, importance)
        predictions.result()


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write the held-out predictions, of many rows or labels a few folds at a time."""
    ends = np.cumsum([fold.y_score.size for fold in evaluation.folds])
    of_folds = zip(ends // MAX_CELLS, evaluation.folds, strict=True)
    parts = [[fold for _, fold in part] for _, part in groupby(of_folds, lambda pair: pair[0])]
    with ExitStack() as stack:
        writer = None
        for folds in parts:
            frame = predictions_table(replace(evaluation, folds=tuple(folds)))
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def write_report(
    folder: Path,
    evaluation: Evaluation,
    summary: DataSummary,
    run_info: RunInfo,
    labels: pd.DataFrame,
    findings: Sequence[Finding] = (),
    importance: FeatureImportance | None = None,
) -> None:
    """Draw the figures and write the page, if they are configured.

    Args:
        folder: A folder without a page.
        evaluation: The evaluation.
        summary: Summary of the data set.
        run_info: The run, for the page.
        labels: Table of scores by label, from `labels_table`.
        findings: Findings of the checks.
        importance: Importance of the features, if it was configured.
    """
    config = evaluation.config.report
    figures, numbers = [], ""
    if config.figures:
        figures = _figures().draw_figures(evaluation, labels, importance)
        numbers = _figures().describe_numbers(evaluation.dataset.label_names)
        (folder / "figures").mkdir(exist_ok=True)
        for figure in figures:
            (folder / "figures" / f"{figure.name}.png").write_bytes(figure.png)
    if config.html:
        page = write_page(
            *(evaluation, summary, run_info, labels, figures, findings),
            label_numbers=numbers,
            importance=importance,
        )
        (folder / PAGE).write_text(page, encoding="utf-8")


def write_importance(folder: Path, evaluation: Evaluation) -> FeatureImportance | None:
    """Write the importance of features if it was configured, and return it."""
    importance = feature_importance(evaluation)
    if importance:
        importance.to_table().to_parquet(folder / IMPORTANCE_FILE)
    return importance


def write_leaderboard(
    folder: Path,
    board: Leaderboard,
    expected: ExpectedScore | None,
    findings: Sequence[Finding] = (),
    nested: NestedScores | None = None,
) -> None:
    """Write the leaderboard of a sweep as a table, and as a figure if a job is ranked.

    Args:
        folder: An empty folder.
        board: The leaderboard.
        expected: Score to expect of the best job, for the figure; None if there is none.
        findings: Findings of the checks.
        nested: Choices in the outer folds; None if there are none.
    """
    if nested and nested.selections:
        (folder / NESTED).write_text(json.dumps(to_json_table(nested.selection_rows())))
    (folder / CHECKS).write_text(json.dumps(to_table(findings)))
    (folder / LEADERBOARD).write_text(json.dumps(to_json_table(board.rows())))
    if board.best:
        (folder / "figures").mkdir()
        (folder / "figures" / "leaderboard.png").write_bytes(
            _figures().leaderboard_png(board, expected)
        )


def _figures() -> ModuleType:
    """Import the module of the figures, which imports matplotlib."""
    with heavy_imports():
        from pipeline.report import figures

    return figures


def _without_nan(table: dict[str, list[object]]) -> dict[str, list[object]]:
    """Replace NaN and infinity, which JSON does not have, by null."""

    def clean(value: object) -> object:
        if isinstance(value, list):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {key: [clean(item) for item in values] for key, values in table.items()}
