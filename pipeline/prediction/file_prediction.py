"""Predict a file of raw rows batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.label_columns import encode_labels
from pipeline.dataset.label_values import LabelValues
from pipeline.errors import UserError, locate, suggest
from pipeline.model.loaded_model import LoadedModel
from pipeline.prediction.batch import BadRow, Batch, OnBad, RowFile
from pipeline.prediction.model_folder import ModelFolder
from pipeline.prediction.output_files import Writer
from pipeline.scoring import score

LABELS = "labels"  # name of the column of predicted label names
FIRST_ROW = "row 0 (the first is 0)"  # how the schema names the row of a table of one row


@dataclass(frozen=True)
class Answer:
    """The requested kind of predictions.

    Attributes:
        kind: Probabilities; decisions, which are 0 or 1; or the names of the predicted labels.
        thresholds: Threshold of each label, of shape (n_labels,).
        ids: Columns to copy.
    """

    kind: Literal["probabilities", "decisions", "labels"]
    thresholds: NDArray[np.float64]
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """True labels in a file of rows.

    Attributes:
        list_column: The column that lists the labels of a row; None if each has a column.
        separator: Text between two listed labels; None to recognise it in each batch.
        values: Values that mean yes and no.
    """

    list_column: str | None = None
    separator: str | None = None
    values: LabelValues = field(default_factory=LabelValues)

    @classmethod
    def from_reading(cls, reading: Mapping[str, Any]) -> "Labels":
        """Return the labels of files that are read like the training file."""
        true, false = (tuple(reading.get(f"{it}_values", ())) for it in ("true", "false"))
        names = (reading.get("label_list_column"), reading.get("label_separator"))
        return cls(*names, LabelValues(true, false))


@dataclass(eq=False)
class Predictions:
    """Counts of the predicted rows, and true labels and probabilities of those that have labels.

    Attributes:
        n_rows: Number of predicted rows.
        y_true: Labels of each batch.
        y_score: Probabilities of each batch.
        unscored: Reason why the file has no usable labels; None if it has.
    """

    n_rows: int
    y_true: list[NDArray[np.int8]]
    y_score: list[NDArray[np.float32]]
    unscored: str | None = None


def predict_file(
    model: LoadedModel,
    file: RowFile,
    writer: Writer,
    answer: Answer,
    *,
    on_bad: OnBad | None = None,
    labels: Labels | None = None,
    progress: Callable[[int, float | None], None] = lambda n_rows, fraction: None,
) -> Predictions:
    """Predict all rows of a file.

    Args:
        model: The model.
        file: The rows.
        writer: Receives ids and predictions.
        answer: What to predict.
        on_bad: What to do with rows that cannot be predicted; None to raise.
        labels: Where the true labels are; None if they are not looked for.
        progress: Receives the number of predicted rows and how much of the file is read.

    Raises:
        UserError: If the file cannot be read, a column is missing, or a row is bad and `on_bad` is
            None; the message names file, row and column.
    """
    if labels and not _has_labels(labels, file, model):
        labels = None
    columns = _needed_columns(model, file, answer, labels)
    done = Predictions(0, [], [])
    for X, part in encode_rows(model, file, columns, on_bad):
        y_score = model.predict_proba(X)
        writer.write(_to_table(answer, model.label_names, part.table, y_score))
        if labels and not done.unscored:
            _collect(done, labels, file.source, model, part, y_score)
        done.n_rows += len(part.rows)
        progress(done.n_rows, file.fraction_read())
    return done


def encode_rows(
    model: LoadedModel,
    file: RowFile,
    columns: Sequence[str],
    on_bad: OnBad | None,
    *,
    may_miss: bool = False,
) -> Iterator[tuple[NDArray[np.float32], Batch]]:
    """Yield encoded rows of shape (n, n_features) with their batch; the first may be empty.

    Args:
        model: The model.
        file: The rows.
        columns: Columns to read.
        on_bad: What to do with rows that cannot be encoded; None to raise.
        may_miss: Whether to take missing numbers even if the model cannot predict them.

    Raises:
        UserError: As of `predict_file`.
    """

    def handle(bad: BadRow) -> None:
        reason = bad.reason.replace(FIRST_ROW, f"row {bad.row} (the first is 0)")
        if on_bad is None:
            hint = "Correct it, or give --skip-bad to leave out such rows."
            raise locate(file.source, ValueError(reason), hint)
        on_bad(BadRow(bad.row, bad.column, reason, bad.values))

    for batch in file.batches(columns, handle):
        yield from _encode(model, file.source, batch, handle, may_miss)


def _needed_columns(
    model: LoadedModel, file: RowFile, answer: Answer, labels: Labels | None
) -> list[str]:
    """Return the columns to read; UserError if the file lacks one."""
    for name in answer.ids:
        if name not in file.names:
            raise UserError(f"--id: no column {name!r}. {suggest(name, file.names)}")
        if name in model.label_names and answer.kind != "labels":
            raise UserError(f"--id: expected a column other than a label. Received: {name!r}.")
    check_columns(model, file)
    names = [*model.schema.names, *answer.ids]
    if labels:
        names += [labels.list_column] if labels.list_column else model.label_names
    return list(dict.fromkeys(names))


def check_columns(model: LoadedModel, file: RowFile) -> None:
    """Raise UserError if a file lacks a feature; the schema itself says which."""
    try:
        model.schema.encode(pa.table({name: pa.nulls(0) for name in file.names}))
    except ValueError as error:
        raise locate(file.source, error) from error


def _has_labels(labels: Labels, file: RowFile, model: LoadedModel) -> bool:
    names = [labels.list_column] if labels.list_column else model.label_names
    return set(names) <= set(file.names)


def _encode(
    model: LoadedModel, source: str, batch: Batch, on_bad: OnBad, may_miss: bool
) -> Iterator[tuple[NDArray[np.float32], Batch]]:
    """Encode a batch, in halves if one of its rows is bad."""
    try:
        X = model.encode(batch.table, may_miss=may_miss)
    except ValueError as error:
        if not len(batch.rows):  # a column of another type
            raise locate(source, error) from error
        if len(batch.rows) == 1:
            values = batch.table.to_pylist()[0]
            row = int(batch.rows[0])
            on_bad(BadRow(row, _bad_column(model, batch.table), str(error), values))
            return
        half = len(batch.rows) // 2
        for part in (slice(half), slice(half, None)):
            start, stop, _ = part.indices(len(batch.rows))
            table = batch.table.slice(start, stop - start)
            yield from _encode(model, source, Batch(batch.rows[part], table), on_bad, may_miss)
    else:
        yield X, batch


def _bad_column(model: LoadedModel, table: pa.Table) -> str | None:
    """Return the first column of a row that the model refuses, else that of a missing number."""
    missing = None
    for column in model.schema.columns:
        try:
            values = model.schema.encode_column(column, table.column(column.name))
        except (ValueError, pa.ArrowException):
            return column.name
        if missing is None and column.kind not in ("category", "text") and np.isnan(values[0]):
            missing = column.name
    return missing


def _to_table(
    answer: Answer, label_names: Sequence[str], rows: pa.Table, y_score: NDArray[np.float32]
) -> pa.Table:
    """Return ids and predictions."""
    columns = {name: rows.column(name) for name in answer.ids}
    y_pred = y_score > answer.thresholds if answer.kind != "probabilities" else None
    if y_pred is None:
        columns |= {name: pa.array(y_score[:, j]) for j, name in enumerate(label_names)}
    elif answer.kind == "decisions":
        columns |= {
            name: pa.array(y_pred[:, j].astype(np.int8)) for j, name in enumerate(label_names)
        }
    else:
        ends = np.concatenate([[0], np.cumsum(y_pred.sum(axis=1))]).astype(np.int32)
        names = pa.array(label_names, pa.string()).take(pa.array(np.nonzero(y_pred)[1]))
        columns[LABELS] = pa.ListArray.from_arrays(pa.array(ends), names)
    return pa.table(columns)


def _collect(
    done: Predictions,
    labels: Labels,
    source: str,
    model: LoadedModel,
    batch: Batch,
    y_score: NDArray[np.float32],
) -> None:
    """Keep labels and probabilities; if a label is missing or invalid, none are kept any more."""
    if not len(batch.rows):
        return
    names = () if labels.list_column else model.label_names
    roles = ColumnRoles((), names, labels.list_column, labels.separator)
    roles = replace(roles, label_values=labels.values)
    try:
        present, y, _ = encode_labels(source, roles, batch.table)
    except UserError as error:
        done.unscored = str(error)
        done.y_true.clear()
        done.y_score.clear()
        return
    if labels.list_column:
        index = {name: j for j, name in enumerate(present)}
        y = np.column_stack(
            [y[:, index[name]] if name in index else np.zeros(len(y), np.int8)
             for name in model.label_names]
        )  # fmt: skip
    done.y_true.append(y)
    done.y_score.append(y_score)


def score_predictions(
    folder: ModelFolder,
    done: Predictions,
    thresholds: NDArray[np.float64],
    trust_code: bool,
) -> tuple[dict[str, float], list[str]]:
    """Return the scores of predicted rows by metric, and the metrics that were skipped.

    The metrics are those of the run; the user's own are code, and computed only if trusted.
    """
    scoring = folder.scoring
    if scoring is None:
        return {}, []
    skipped = [name for name in scoring.metrics if "." in name and not trust_code]
    metrics = tuple(name for name in scoring.metrics if name not in skipped)
    y_true, y_score = np.concatenate(done.y_true), np.concatenate(done.y_score)
    if not metrics:
        return {}, skipped
    y_pred = (y_score > thresholds).astype(np.int8)
    config = replace(scoring, metrics=metrics)
    return score(config, y_true, y_score, y_pred).values, skipped
