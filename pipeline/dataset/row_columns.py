"""Read the group, fold, id and weight columns of a table."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.dataset.dataset import TEST, TRAIN
from pipeline.errors import UserError
from pipeline.preprocessing import TableSchema, encode_texts
from pipeline.preprocessing.column_values import is_text

_FOLD_NUMBERS = {"train": TRAIN, "test": TEST}


def encode_column(
    source: str, key: str, name: str, table: pa.Table
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the code of each row and the texts of a column that may not have missing values."""
    codes, texts = encode_texts(table.column(name))
    if (codes < 0).any():
        raise UserError(
            f"{source}: expected a value in every row of the column of dataset.{key}. Received: a "
            f"missing value in column {name!r}, row {int((codes < 0).argmax())} (the first is 0)."
        )
    return codes, texts


def read_folds(source: str, name: str, table: pa.Table) -> NDArray[np.int64]:
    """Return the fold that tests each row, -1 if it always trains."""
    codes, texts = encode_column(source, "fold_column", name, table)
    folds = [parse_fold(text) for text in texts]
    if None in folds:
        code = folds.index(None)
        raise UserError(
            f"{source}, column {name!r}: expected the number of a fold, from -1 (always trains), "
            f"or the word train or test. Received: {texts[code]!r} in row "
            f"{int((codes == code).argmax())} (the first is 0)."
        )
    return np.array(folds, dtype=np.int64)[codes]


def read_ids(source: str, name: str, table: pa.Table) -> NDArray[np.str_]:
    """Return the ids of the rows, which must be unique."""
    codes, texts = encode_column(source, "id_column", name, table)
    _, rows = np.unique(codes, return_index=True)
    if len(rows) < len(codes):
        row = int(np.setdiff1d(np.arange(len(codes)), rows)[0])
        raise UserError(
            f"{source}: expected ids that occur once. Received: {texts[codes[row]]!r} again in "
            f"column {name!r}, row {row} (the first is 0). If such rows belong together, name the "
            "column in dataset.group_column."
        )
    return np.array(texts, dtype=np.str_)[codes]


def read_weights(
    source: str, name: str, table: pa.Table, decimal: str = "."
) -> NDArray[np.float32]:
    """Return the weights of the rows; `Dataset` checks their values."""
    codes, texts = encode_column(source, "weight_column", name, table)
    if not is_text(table.schema.field(name).type):
        decimal = "."
    parse = TableSchema((), decimal=decimal).parse_number
    numbers = [parse(text) for text in texts]
    if None in numbers:
        code = numbers.index(None)
        raise UserError(
            f"{source}: expected numbers in the column of dataset.weight_column. Received: "
            f"{texts[code]!r} in column {name!r}, row {int((codes == code).argmax())} (the first "
            "is 0). Decimal commas: dataset.decimal=','"
        )
    return np.array(numbers, dtype=np.float32)[codes]


def parse_fold(text: str) -> int | None:
    """Return the fold that `train`, `test` or a number means, -1 to always train, else None."""
    text = text.strip().lower()
    if text in _FOLD_NUMBERS:
        return _FOLD_NUMBERS[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and number >= TRAIN else None
