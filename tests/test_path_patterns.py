"""A pattern in the path of the data set stands for the files that match."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.config import expand_patterns, quote_arguments
from pipeline.errors import UserError

NAMES = ("a.csv", "b (1).csv", "c,two.csv", "d$x.csv", "größe.csv")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "e.csv").mkdir(parents=True)  # no file
    for name in (*NAMES, "notes.txt"):
        (tmp_path / "data" / name).write_text("x")
    return tmp_path


def parse(*arguments: str) -> list[str]:
    """Return the values that Hydra reads for the path."""
    override = OverridesParser.create().parse_override(
        quote_arguments(["--multirun", *expand_patterns(arguments)])[-1]
    )
    if not override.is_sweep_override():
        return [override.value()]
    return [
        OverridesParser.create().parse_override(f"k={it}").value()
        for it in override.sweep_string_iterator()
    ]


def test_hydra_reads_every_file_that_matches():
    expected = [f"data/{name}" for name in NAMES]
    assert parse("dataset.path=data/*.csv") == expected
    assert parse("dataset.path=data/b*.csv,data/notes.txt,data/c*.csv") == [
        "data/b (1).csv",
        "data/notes.txt",
        "data/c,two.csv",
    ]
    assert parse("++dataset.path=data/?.csv") == ["data/a.csv"]


def test_other_arguments_and_files_with_such_a_name_stay(folder):
    (folder / "data" / "*.csv").write_text("x")
    for argument in (
        "dataset.path=data/*.csv",
        "dataset.labels=[tag_*]",
        "dataset.path=a.csv",
        "-m",
    ):
        assert expand_patterns([argument]) == [argument]
    for value in ("choice(a*,b*)", "'data/?.csv'"):
        assert expand_patterns([f"dataset.path={value}"]) == [f"dataset.path={value}"]


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(UserError, match=r"dataset\.path: expected a pattern that matches a file"):
        expand_patterns(["dataset.path=data/*.arff"])
