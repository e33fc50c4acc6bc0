"""No input makes a reader slow: the time grows about in proportion to its size."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pytest
from sklearn.datasets import load_svmlight_file

from pipeline.config.renamed_keys import explain_renamed_argument
from pipeline.dataset import loading, svmlight
from pipeline.dataset.arff_parser import parse_arff
from pipeline.dataset.builder import dataset_from_frame
from pipeline.dataset.column_roles import ColumnRoles, assign_roles
from pipeline.dataset.label_columns import encode_labels
from pipeline.dataset.svmlight import _find_bad_line
from pipeline.errors import UserError, suggest

MIN_SECONDS = 1e-3  # below, fixed costs hide the growth
MAX_SIZE = 2**17
LIMIT = 9  # times as long for a size four times as large: linear 4, quadratic 16


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    with suppress(UserError):
        call()
    return time.process_time() - start


def growth(make: Callable[[int], Callable[[], object]], n: int) -> float:
    """Return how many times as long a call takes on an input that is four times as large.

    Args:
        make: Makes an input of a given size and returns the call that reads it.
        n: The smallest size.
    """
    while seconds(make(n)) < MIN_SECONDS:
        if n >= MAX_SIZE:
            return 0.0  # reading stops at once
        n *= 2
    small, large = make(n), make(4 * n)
    pairs = [(seconds(small), seconds(large)) for _ in range(2)]
    return min(long for _, long in pairs) / min(short for short, _ in pairs)


def check_growth(make: Callable[[int], Callable[[], object]], n: int = 32) -> None:
    attempts = [growth(make, n)]
    while attempts[-1] >= LIMIT and len(attempts) < 4:  # the machine may be busy
        attempts.append(growth(make, n))
    assert min(attempts) < LIMIT


HEADER = "@relation r\n@attribute a numeric\n@attribute c {x,y}\n@attribute l {0,1}\n@data\n"
PLACES = {
    "comment": "% @@\n" + HEADER + "1,x,0\n",
    "blank": "@@\n" + HEADER + "1,x,0\n",
    "relation": HEADER.replace("n r", "n @@") + "1,x,0\n",
    "name": HEADER.replace("e a", "e @@") + "1,x,0\n",
    "kind": HEADER.replace("numeric", "@@") + "1,x,0\n",
    "categories": HEADER.replace("x,y", "x,@@") + "1,x,0\n",
    "dense row": HEADER + "@@\n",
    "dense value": HEADER + "1,@@,0\n",
    "sparse row": HEADER + "{@@}\n",
    "sparse value": HEADER + "{0 @@, 2 1}\n",
}
REPEATED = (" ", "\t", "'", '"', "\\", "\\'", ",", "{", "}", "a", "9", "0 1,", " , ", "\n")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("repeated", REPEATED)
def test_runs_of_a_character_in_arff_text(place, repeated):
    for before, after in (("", ""), ("'", ""), ("", "'"), ("x", '"')):

        def make(n, before=before, after=after):
            text = PLACES[place].replace("@@", before + repeated * n + after)
            return lambda: parse_arff("t.arff", text)

        check_growth(make)


def arff_of(n: int, *, sparse: bool) -> str:
    attributes = "".join(f"@attribute a{j} {{0,1}}\n" for j in range(n))
    row = "{" + ",".join(f"{j} 1" for j in range(n)) + "}" if sparse else ",".join("1" * n)
    return f"@relation r\n{attributes}@data\n{row}\n"


@pytest.mark.parametrize("sparse", [False, True])
def test_many_attributes_of_which_half_are_labels(sparse, tmp_path, make_config):
    path, xml = tmp_path / "t.arff", tmp_path / "t.xml"
    config = make_config("dataset=arff", f"dataset.path='{path}'").dataset

    def make(n):
        text = arff_of(n, sparse=sparse)
        labels = "".join(f'<label name="a{j}"/>' for j in range(n // 2))

        def load():
            path.write_text(text)
            xml.write_text(f"<labels>{labels}</labels>")
            return loading.load(config)

        return load

    check_growth(make, n=2500)


def test_many_columns_of_a_frame_of_which_half_are_labels():
    def make(n):
        table = pa.table({f"x{j}": [0, 1] for j in range(n)})
        return lambda: dataset_from_frame("t", "t", table, table.column_names[n // 2 :])

    check_growth(make, n=2500)


def test_many_columns_with_many_roles(make_config):
    def make(n):
        config = make_config("dataset=table", "dataset.path=t.csv", "dataset.labels=[y*]").dataset
        names = [f"x{j}" for j in range(n)] + [f"y{j}" for j in range(n)]
        config = replace(config, drop=tuple(names[: n // 2]), numeric=tuple(names[n // 2 : n]))
        return lambda: assign_roles(config, names)

    check_growth(make, n=2500)


@pytest.mark.parametrize("separator", ["|", "json"])
@pytest.mark.parametrize("cell", ["|", " ", "a|", "[", "[1,", "9", "e", ","])
def test_runs_of_a_character_in_a_label_list(cell, separator):
    roles = ColumnRoles((), (), label_list_column="l", label_separator=separator)

    def make(n):
        table = pa.table({"l": [cell * n]})
        return lambda: encode_labels("t", roles, table)

    check_growth(make)


@pytest.mark.parametrize(
    "argument", ["a.", ".", "preparation.", "preparation=a.", "x=a,", "sweep=", "+", "~", "x@"]
)
def test_runs_in_an_argument_of_the_command_line(argument):
    check_growth(lambda n: lambda: list(explain_renamed_argument(f"{argument * n}=1")))


@pytest.mark.parametrize("piece", ["a", "ab", "".join(map(chr, range(300, 500)))])
def test_long_unknown_names(piece):
    def make(n):
        name = piece * (n // len(piece))
        return lambda: suggest(name, [f"{name}x", f"x{name}"])

    check_growth(make)


def test_a_bad_line_of_an_svmlight_file_is_searched_in_few_steps(monkeypatch):
    n_lines = []

    def read(file, **options):
        n_lines.append(file.getvalue().count(b"\n") + 1)
        return load_svmlight_file(file, **options)

    monkeypatch.setattr(svmlight, "load_svmlight_file", read)
    lines = [b"1 1:1"] * 2000
    for bad in (0, 1, 1234, 1999):
        n_lines.clear()
        content = b"\n".join([*lines[:bad], b"1 x", *lines[bad + 1 :]])
        assert f"'1 x' in line {bad + 1} (" in _find_bad_line(content, "")
        assert len(n_lines) < 20
        assert sum(n_lines) < 2 * len(lines) + 20


@pytest.mark.parametrize("row", ["1,2", "1,2,3,4", '"', "1,\xe9,0"])
def test_a_bad_line_of_a_csv_file(row, tmp_path, make_config):
    path = tmp_path / "t.csv"
    config = make_config("dataset=table", f"dataset.path='{path}'", "dataset.labels=[l]").dataset

    def make(n):
        content = ("a,b,l\n" + "1,2,0\n" * n + row + "\n").encode("latin-1")

        def load():
            path.write_bytes(content)
            return loading.load(config)

        return load

    check_growth(make)
