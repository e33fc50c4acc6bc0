"""Warnings of labels that stayed features, of ids, and what dataset.drop_duplicates leaves."""

import shlex
import uuid

import numpy as np
import pytest

from pipeline.checks import Finding, check_data
from pipeline.config import Config
from pipeline.dataset import loading, summarise
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.suspicious_columns import is_named_like_id

RNG = np.random.default_rng(0)
N = 40


@pytest.fixture
def configure(tmp_path, make_config):
    """Write columns, given by name, as a CSV file, and return its configuration."""

    def configure(columns: dict, *overrides: str) -> Config:
        path = tmp_path / "t.csv"
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
        return make_config("dataset=table", f"dataset.path='{path}'", *overrides)

    return configure


@pytest.fixture
def load(configure):
    """Load columns, given by name, as a CSV file."""

    def load(columns: dict, *overrides: str) -> Dataset:
        return loading.load(configure(columns, *overrides).dataset)

    return load


@pytest.fixture
def find_ids(configure):
    """Return the findings of ids in columns, given by name."""

    def find_ids(columns: dict, *overrides: str) -> list[Finding]:
        config = configure(columns, *overrides)
        dataset = loading.load(config.dataset)
        findings = check_data(config, dataset, summarise(dataset), [])
        return [finding for finding in findings if finding.code == "MF005"]

    return find_ids


def binary(*names: str) -> dict:
    return {name: [0, 1, *RNG.integers(0, 2, N - 2)] for name in names}


NUMBERS = {"age": RNG.normal(size=N), "n_visits": RNG.integers(0, 9, N)}


@pytest.mark.parametrize(
    ("labels", "siblings", "given", "pattern"),
    [
        (["tag_200", "tag_201"], ["tag_1", "tag_x"], "['tag_2*']", "tag_*"),
        (["tagA", "tagB"], ["tagC"], "[tagA,tagB]", "tag[A-Z]*"),
        (["label1", "label2"], ["label3", "label9"], "['label[12]']", "label[0-9]*"),
        (["y0"], ["y1", "y2"], "[y0]", "y[0-9]*"),
        (["toxic_label"], ["insult_label", "threat_label"], "[toxic_label]", "*_label"),
        (["x.topic", "y.topic"], ["z.topic"], "[x.topic,y.topic]", "*.topic"),
        (["spamLabel"], ["hamLabel"], "[spamLabel]", "*Label"),
        (["us-east", "us-west"], ["us-north"], "[us-east,us-west]", "us-*"),
    ],
)  # fmt: skip
def test_a_pattern_of_labels_that_is_too_narrow(load, labels, siblings, given, pattern):
    columns = {**NUMBERS, **binary(*siblings, *labels)}
    dataset = load(columns, f"dataset.labels={given}")
    (warning,) = dataset.warnings
    assert all(repr(name) in warning for name in siblings)
    typed = warning.partition("dataset.labels=")[2].rpartition("]")[0] + "]"
    assert pattern in typed
    again = load(columns, f"dataset.labels={typed}")
    assert set(again.label_names) == {*labels, *siblings}
    assert set(again.feature_names) == {*NUMBERS}
    assert not again.warnings
    drop = f"dataset.drop=[{','.join(map(repr, siblings))}]"
    assert not load(columns, f"dataset.labels={given}", drop).warnings


def test_labels_of_two_families_and_one_alone(load):
    columns = {**NUMBERS, **binary("tag_a", "tag_b", "is_new", "topic1", "topic2")}
    (warning,) = load(columns, "dataset.labels=[tag_a,is_new,topic1]").warnings
    for part in ("'tag_b'", "'topic2'", "tag_*", "'topic[0-9]*'", "is_new"):
        assert part in warning


@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        ({**NUMBERS, **binary("is_weekend", "is_spam")}, "[is_spam]"),
        ({**NUMBERS, **binary("x1", "x2", "x3")}, "[x3]"),
        (binary("f0", "f1", "f2", "f3"), "[f2,f3]"),
        ({"tag_n": NUMBERS["age"], "tag_m": NUMBERS["age"], **binary("tag_a", "tag_b")}, "[tag_a]"),
        ({**NUMBERS, **binary("smoker", "married", "l", "m")}, "[l,m]"),
        ({"sizes_index": RNG.normal(size=N), "year": np.arange(N) // 4, **binary("l")}, "[l]"),
        ({"key": RNG.integers(0, 12, N), "acid": RNG.integers(0, 99, N), **binary("l")}, "[l]"),
        ({"paid": RNG.permutation(N) * 7, "country": ["a", "b"] * (N // 2), **binary("l")}, "[l]"),
    ],
)  # fmt: skip
def test_ordinary_columns_are_no_warning(load, columns, labels):
    assert not load(columns, f"dataset.labels={labels}").warnings


UUIDS = [str(uuid.UUID(int=int(i))) for i in RNG.integers(0, 2**60, N)]


@pytest.mark.parametrize(
    ("name", "values"),
    [("id", range(N)), ("ID", range(100, 100 + N)), ("customerId", RNG.permutation(N) * 3),
     ("row_id", [f"r{i}" for i in range(N)]), ("guid", UUIDS), ("who", UUIDS), ("index", range(N)),
     ("PassengerId", range(1, N + 1)), ("Unnamed: 0.1", range(N)), ("key", RNG.permutation(N) * 9),
     ("level_0", range(N)), ("n", range(N)), ("m", RNG.permutation(N) + 5),
     ("code", [f"K{i}" for i in range(N)]), ("tweet id", [10**9 + 17 * i for i in range(N)])],
)  # fmt: skip
def test_ids_are_a_finding_and_no_warning(load, find_ids, name, values):
    columns = {name: values, **NUMBERS, **binary("l")}
    assert not load(columns, "dataset.labels=[l]").warnings
    (finding,) = find_ids(columns, "dataset.labels=[l]")
    assert f"{name} is an id of the rows" in finding.message
    (override,) = shlex.split(finding.remedy.partition("Name it: ")[2])
    named = load(columns, "dataset.labels=[l]", override)
    assert named.feature_names == tuple(NUMBERS)
    assert len(named.ids) == N
    assert not find_ids(columns, "dataset.labels=[l]", override)
    assert not find_ids(columns, "dataset.labels=[l]", f"dataset.categorical=['{name}']")


def test_a_second_id_is_left_out_and_repeated_ids_are_groups(load, find_ids):
    columns = {"id": range(N), "uuid": UUIDS, "user_id": [i // 2 for i in range(N)], **NUMBERS}
    columns |= binary("l")
    (warning,) = load(columns, "dataset.labels=[l]").warnings
    assert "'dataset.group_column=user_id' with cv=group_kfold" in warning
    (finding,) = find_ids(columns, "dataset.labels=[l]")
    assert "id, uuid are ids of the rows" in finding.message
    remedy = "Name it: dataset.id_column=id, and leave out uuid: 'dataset.drop=[uuid]'"
    assert finding.remedy == remedy


def test_the_specimen(find_ids):
    columns = {"id": range(4), "x": [0.3, 0.1, 0.4, 0.2], "a": [0, 1, 1, 0], "b": [1, 0, 1, 0]}
    (finding,) = find_ids(columns, "dataset.labels=[a,b]")
    assert "dataset.id_column=id" in finding.remedy


def test_names_of_ids():
    ids = "id Id ID row_id rowid row id uuid orderUUID guid key index idx Unnamed: 0 PK imageId"
    for name in [*ids.replace("row id", "rowId").replace("Unnamed: 0", "Unnamed:0").split()]:
        assert is_named_like_id(name), name
    for name in ("acid", "humidity", "monkey", "idea", "guide", "x0", "video", "indexed", "valid"):
        assert not is_named_like_id(name), name


NAMES = "emotions yeast flags foodtruck birds medical bibtex meka_music"


@pytest.mark.parametrize("name", NAMES.split())
def test_real_data_are_quiet(name, shared_data, make_config):
    config = make_config("dataset=arff", f"dataset.path='{shared_data}/{name}.arff'")
    assert not loading.load(config.dataset).warnings


def test_synthetic_data_are_quiet(make_config):
    assert not loading.load(make_config().dataset).warnings


def test_duplicates_are_dropped(load):
    columns = {"a": [1, 2, 1, 1, 3], "b": ["x", "", "x", "y", ""], "l": [0, 1, 1, 0, 1]}
    columns["i"] = [5, 6, 7, 8, 9]
    options = ["dataset.labels=[l]", "dataset.id_column=i"]
    assert load(columns, *options).n_samples == 5
    dataset = load(columns, *options, "dataset.drop_duplicates=true")
    assert dataset.ids.tolist() == ["5", "6", "8", "9"]
    assert dataset.X[:, 0].tolist() == [1, 2, 1, 3]
    assert dataset.y.ravel().tolist() == [0, 1, 0, 1]
    assert summarise(dataset).n_duplicates == 0
    (warning,) = dataset.warnings
    assert "dropped 1 rows" in warning
    assert "1 of them with other labels" in warning


def test_test_rows_that_are_training_rows_are_dropped(load, tmp_path, make_config):
    (tmp_path / "test.csv").write_text("a,l\n2,1\n9,0\n9,0\n")
    dataset = load(
        {"a": [1, 2, 1], "l": [0, 1, 0]},
        "dataset.labels=[l]",
        f"dataset.test_path='{tmp_path}/test.csv'",
        "dataset.drop_duplicates=true",
    )
    assert dataset.X.ravel().tolist() == [1, 2, 9]
    assert dataset.fold.tolist() == [-1, -1, 0]


@pytest.mark.parametrize("kind", ["synthetic", "svmlight", "npz", "python", "openml", "arff"])
def test_every_kind_has_the_option(kind, make_config):
    needed = {"python": ["dataset.loader=a.b"], "synthetic": [], "openml": []}
    config = make_config(
        f"dataset={kind}", *needed.get(kind, ["dataset.path=x"]), "dataset.drop_duplicates=true"
    )
    assert config.dataset.drop_duplicates
