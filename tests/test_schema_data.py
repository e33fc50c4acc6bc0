"""Each source has a file in `conf/dataset`, a dataclass and a module of the same name."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from pipeline.config.schema_data import DatasetConfig
from pipeline.config.serialization import to_yaml
from pipeline.errors import UserError
from pipeline.runtime import CONF_DIR

KINDS = {
    get_args(schema.__dataclass_fields__["kind"].type)[0]: schema
    for schema in get_args(get_args(DatasetConfig)[0])
}
REQUIRED = {"path": "dataset.path=t", "loader": "dataset.loader=os.getcwd"}


@pytest.fixture
def compose(make_config):
    def compose(kind: str, *overrides: str):
        needed = [text for key, text in REQUIRED.items() if key in KINDS[kind].__dataclass_fields__]
        return make_config(f"dataset={kind}", *needed, *overrides)

    return compose


def test_files_and_dataclasses_and_modules_have_the_same_names():
    assert {path.stem for path in (CONF_DIR / "dataset").glob("*.yaml")} == set(KINDS)
    for kind in KINDS:
        import_module(f"pipeline.dataset.{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_has_a_first_comment_and_all_keys(kind, compose):
    lines = Path(CONF_DIR / "dataset" / f"{kind}.yaml").read_text().splitlines()
    assert any(line.startswith("# ") and not line.startswith("# @") for line in lines[:2])
    config = compose(kind)
    assert isinstance(config.dataset, KINDS[kind])
    text = to_yaml(config)
    written = {line.split(":")[0].strip() for line in lines}
    for field in fields(KINDS[kind]):
        assert field.name in written
        assert f"{field.name}:" in text


@pytest.mark.parametrize("kind", KINDS)
def test_predict_rows_hold_numbers_texts_and_nulls(kind, compose):
    found = compose(kind, "dataset.predict_rows=[[1, 2.5, red, null]]")
    assert found.dataset.predict_rows == ((1, 2.5, "red", None),)
    with pytest.raises(UserError, match=r"dataset\.predict_rows\.0\.0"):
        compose(kind, "dataset.predict_rows=[[{a: 1}]]")


@pytest.mark.parametrize(
    ("kind", "override", "message"),
    [
        ("table", "+dataset.label=l", "dataset.label: no such key. Did you mean 'labels'?"),
        ("table", "dataset.labels=[]", "dataset.labels: expected"),
        ("table", "dataset.labels=l", "dataset.labels: expected"),
        ("table", "dataset.last_labels=0", "dataset.last_labels: expected"),
        (
            "table",
            "dataset.format=xlsx",
            "dataset.format: expected 'csv', 'tsv', 'parquet', 'feather', 'jsonl' or 'excel'",
        ),
        ("table", "dataset.separator=ab", "dataset.separator: expected"),
        ("openml", "dataset.data_id=-1", "dataset.data_id: expected"),
        ("arff", "dataset.path=''", "dataset.path: expected"),
        ("svmlight", "dataset.zero_based=auto", "dataset.zero_based: expected"),
        ("table", "dataset.kind=tabel", "dataset.kind: unknown kind 'tabel'"),
    ],
)
def test_invalid_values_are_rejected(kind, override, message, compose):
    with pytest.raises(UserError) as caught:
        compose(kind, override)
    assert message in str(caught.value)
