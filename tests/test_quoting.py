"""Plain text reaches the configuration unchanged, without quotes for Hydra's grammar."""

import os
import tempfile
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.config import compose_tracking, recompose, to_yaml
from pipeline.config.quoting import quote, quote_argument, quote_arguments
from pipeline.errors import UserError

HARD_NAMES = [
    "train (1).csv", "epoch=3.csv", "Höhe.csv", "R&B", "a,b", "C:\\x", "{a}.csv", "$x", "a ", " a",
    "#1", "@b", "[x]", "null", "1", "1e3", "true", "${x}", "\\${x}", "\\", "a\\", "'", "a'b\"c",
    "\"", "'a'", "~", "x\ny", "range(3)", "choice(a,b)", "\\,", "a\tb", "日本.csv", "{a:b}", "*",
    "${", "$$", "a\\'", "!", "`", ";", "a,", ",", "\\\\${x}\\", "str(1)",
]  # fmt: skip
file_names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=30
) | st.text("a,'\"\\${}[]()=: ~1.", min_size=1, max_size=12)


def compose_values(*arguments: str, sweep: bool = False):
    """Return the settings of each job of a command line as Hydra reads them, by last part."""
    multirun = ["--multirun"] if sweep else []
    overrides = quote_arguments([*multirun, *arguments])[len(multirun) :]
    jobs = [overrides]
    parser = OverridesParser.create()
    if sweep:
        (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides(overrides), None)
    return [
        OmegaConf.create(
            {
                override.key_or_group.rpartition(".")[2]: override.value()
                for override in parser.parse_overrides(list(job))
                if not override.is_sweep_override() or pytest.fail(override.input_line)
            }
        )
        for job in jobs
    ]


@pytest.fixture(scope="module")
def folder():
    """An empty working directory."""
    with tempfile.TemporaryDirectory() as name:
        before = os.getcwd()
        os.chdir(name)
        yield Path(name)
        os.chdir(before)


def write(name: str) -> bool:
    """Write a file and return whether the file system takes its name."""
    try:
        Path(name).write_text("a\n")
    except OSError:
        return False
    return True


@given(name=file_names)
def test_any_name_of_a_file_reaches_the_path_unchanged(folder, name):
    if name in (".", "..") or not write(name):
        return
    for sweep in (False, True):
        (dataset,) = compose_values(f"dataset.path={name}", sweep=sweep)
        assert dataset.path == name
    os.remove(name)


@pytest.mark.parametrize("name", HARD_NAMES)
@pytest.mark.parametrize("key", ["path", "test_path"])
def test_hard_names_of_files_are_paths(folder, name, key):
    assert write(name)
    if key == "test_path" and name == "null":
        return  # no second file; ./null is one
    for sweep in (False, True):
        (dataset,) = compose_values(
            f"dataset.{key}={name}", f"dataset.{key}={folder / name}", sweep=sweep
        )
        assert dataset[key] == str(folder / name)
        (dataset,) = compose_values(f"dataset.{key}={name}", sweep=sweep)
        assert dataset[key] == name


def test_a_sweep_separates_files_by_commas_that_are_not_in_their_names(folder):
    for name in ("a,b.csv", "c (1).csv", "d.csv"):
        write(name)
    paths = "dataset.path=d.csv,a,b.csv,c (1).csv,none=1.csv"
    datasets = compose_values(paths, sweep=True)
    assert [it.path for it in datasets] == ["d.csv", "a,b.csv", "c (1).csv", "none=1.csv"]


@given(name=st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1))
@example("R&B")
@example("Genre (main), all")
@example("\xa0")
@example("\u3000null")
def test_names_and_columns_are_plain_text(name):
    if (
        "${" in name
        or name.strip(" \t").lower() == "null"
        or name.endswith(tuple("'\")"))
        or "\\" in name
    ):
        return  # still Hydra's interpolation, quotes, functions and escapes
    (dataset,) = compose_values(f"dataset.name={name}", f"dataset.id_column={name}")
    assert (dataset.name, dataset.id_column) == (name, name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[R&B,Sci-Fi]", ["R&B", "Sci-Fi"]),
        ("[R&B, Sci-Fi , Höhe]", ["R&B", "Sci-Fi", "Höhe"]),
        ("[0,1.50,true,null,1e3]", ["0", "1.50", "true", "null", "1e3"]),
        ("[Rock'n'Roll,a]", ["Rock'n'Roll", "a"]),
        ('["a,b",c=d]', ["a,b", "c=d"]),
        ("[Size (a, b),x]", ["Size (a, b)", "x"]),
        ("[a (b,c]", ["a (b", "c"]),
        ("[tag_*,x?]", ["tag_*", "x?"]),
        ("[a:b,#c,@d,$e,C:\\x,{f}]", ["a:b", "#c", "@d", "$e", "C:\\x", "{f}"]),
        ("[]", []),
    ],
)
@pytest.mark.parametrize("key", ["labels", "drop", "categorical"])
def test_lists_of_columns_are_plain_text(value, expected, key):
    for sweep in (False, True):
        (dataset,) = compose_values(f"dataset.{key}={value}", sweep=sweep)
        assert dataset[key] == expected


def test_a_sweep_varies_lists_of_columns():
    datasets = compose_values("dataset.labels=[R&B,x],[0]", sweep=True)
    assert [list(it.labels) for it in datasets] == [["R&B", "x"], ["0"]]


def test_rows_keep_numbers_and_missing_values():
    (dataset,) = compose_values("dataset.predict_rows=[[1,R&B,null],[2.5,a b,x=1]]")
    assert dataset.predict_rows == [[1, "R&B", None], [2.5, "a b", "x=1"]]


@pytest.mark.parametrize(
    "argument",
    [
        "dataset.path=${oc.env:HOME}/data.csv",
        "dataset.path=data.csv",
        'dataset.path="train (2).csv"',
        "dataset.name=null",
        "dataset.labels=['a, b',tag_*]",
        "dataset.name=choice(a,b)",
        "dataset.path=a\\,b.csv",
        "tracking.uri=sqlite:///a/mlflow.db",
        "model.params.x=R&B",
        "training.epochs=1,2",
        "model.hidden_units=[20,[3",
        "--config-dir",
        "~dataset.name",
        "dataset.name=",
    ],
)
def test_what_hydra_reads_as_it_is_meant_stays(argument):
    assert quote_argument(argument) == argument
    assert quote_argument(argument, is_sweep=True) == argument


@pytest.mark.parametrize("separator", [",", ";", " ", "#", "&"])
def test_separators_are_plain_text(separator):
    (dataset,) = compose_values(f"dataset.separator={separator}")
    assert dataset.separator == separator


def test_settings_of_commands_are_plain_text():
    tracking = compose_tracking(["tracking.experiment_name=R&B (Höhe=1), all"])
    assert tracking.experiment_name == "R&B (Höhe=1), all"


def test_changes_of_a_repeated_run_are_plain_text(make_config):
    composed = recompose(to_yaml(make_config()), ["dataset.name=R&B (Höhe=1), all"])
    assert composed.dataset.name == "R&B (Höhe=1), all"


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(UserError, match="UTF-8"):
        quote_arguments(["dataset.path=b\udcff.csv"])


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="$")))
def test_a_quoted_text_stays_the_same(text):
    (override,) = OverridesParser.create().parse_overrides([f"++tracking.uri={quote(text)}"])
    assert override.value() == text
