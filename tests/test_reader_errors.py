"""Invalid files lead to one message that names file, row and column, never to a traceback."""

import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.dataset import loading
from pipeline.errors import UserError
from tests.command_runner import CommandRunner

GOOD = b"a,b,l\n1,2,0\n3,4,1\n5,6,0\n"
ARFF = b"@relation r\n@attribute a numeric\n@attribute c {x,y}\n@attribute l {0,1}\n@data\n"
ROWS = ARFF + b"1,x,0\n2,y,1\n"
XML = b'<labels><label name="l"></label></labels>'
L = "dataset.labels=[l]"
LIST = "dataset.label_list_column=l"
GROUP = "dataset.group_column=g"
ID = "dataset.id_column=i"


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def long(row: bytes, *, n: int = 400_000) -> bytes:
    """Return a file of several blocks with one invalid row near its end."""
    return b"a,b,l\n" + b"1,2,0\n3,4,1\n" * (n // 2) + row


CASES = {
    # name: (file, content, overrides, parts of the message)
    "empty": ("t.csv", b"", [L], ["t.csv", "an empty file"]),
    "header only": ("t.csv", b"a,b,l\n", [L], ["t.csv", "at least one row", "none"]),
    "blank lines": ("t.csv", b"\n\n\n", [L], ["t.csv"]),
    "ragged short": ("t.csv", GOOD + b"7,8\n", [L], ["3 columns", "2 in line 5, column 'b'"]),
    "ragged long": ("t.csv", GOOD + b"7,8,0,9\n", [L], ["3 columns", "4 in line 5, column 'l'"]),
    "ragged far": ("t.csv", long(b"7,8\n"), [L], ["3 columns", "2 in line 400002", "column 'b'"]),
    "truncated": ("t.csv", GOOD[:-6] + b"5", [L], ["3 columns", "1 in line 4, column 'a'"]),
    "latin-1": ("t.csv", GOOD + b"7,\xe9,0\n", [L], ["utf-8", "0xe9 in line 5", "column 'b'"]),
    "latin-1 far": ("t.csv", long(b"7,\xe9,0\n"), [L], ["0xe9 in line 400002, column 'b'"]),
    "latin-1 header": ("t.csv", b"a,\xe9,l\n1,2,0\n", [L], ["utf-8", "0xe9 in line 1, column"]),
    "latin-1 label": ("t.csv", GOOD + b"7,8,\xe9\n", [L], ["0xe9 in line 5, column 'l'"]),
    "utf-16": ("t.csv", GOOD.decode().encode("utf-16"), [L], ["UTF-16", "encoding=utf-16"]),
    "binary": ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0", [L], ["a binary file"]),
    "no codec": ("t.csv", GOOD, [L, "dataset.encoding=utf-99"], ["utf-99", "dataset.encoding"]),
    "same names": ("t.csv", b"a,a,l\n1,2,0\n", [L], ["different names", "'a'", "columns 0, 1"]),
    "no name": ("t.csv", b",a,l\n0,1,0\n1,2,1\n", [L], ["a name for each", "column 0", "drop="]),
    "no such label": ("t.csv", GOOD, ["dataset.labels=[ll]"], ["'ll'", "Did you mean 'l'?"]),
    "no such pattern": ("t.csv", GOOD, ["dataset.labels=['q*']"], ["'q*'", "Available: a, b, l"]),
    "no such feature": ("t.csv", GOOD, [L, "dataset.features=[z]"], ["dataset.features", "'z'"]),
    "no such drop": ("t.csv", GOOD, [L, "dataset.drop=[z]"], ["dataset.drop", "'z'"]),
    "no such group": ("t.csv", GOOD, [L, "dataset.group_column=z"], ["group_column", "'z'"]),
    "no such id": ("t.csv", GOOD, [L, "dataset.id_column=z"], ["dataset.id_column", "'z'"]),
    "no such list": ("t.csv", GOOD, ["dataset.label_list_column=z"], ["label_list", "'z'"]),
    "no such category": ("t.csv", GOOD, [L, "dataset.categorical=[z]"], ["categorical", "'z'"]),
    "no labels": ("t.csv", GOOD, [], ["one of dataset.labels", "none of them"]),
    "labels twice": ("t.csv", GOOD, [L, "dataset.last_labels=1"], ["dataset.labels and", "others"]),
    "all labels": ("t.csv", GOOD, ["dataset.last_labels=3"], ["last_labels below", "3"]),
    "two roles": ("t.csv", GOOD, [L, "dataset.group_column=l"], ["'l' in both", "group_column"]),
    "label as feature": ("t.csv", GOOD, [L, "dataset.features=[a,l]"], ["'l' in both"]),
    "only labels": ("t.csv", GOOD, ["dataset.labels=['*']"], ["at least one feature"]),
    "label of 2": ("t.csv", GOOD + b"7,8,2\n", [L], ["'2' in label 'l', row 3"]),
    "label maybe": ("t.csv", GOOD + b"7,8,maybe\n", [L], ["'maybe' in label 'l', row 3"]),
    "label missing": ("t.csv", GOOD + b"7,8,\n", [L], ["a missing value in label 'l', row 3"]),
    "label 0.5": ("t.csv", GOOD + b"7,8,0.5\n", [L], ["'0.5' in label 'l', row 3"]),
    "label date": ("t.csv", b"a,l\n1,2020-01-01\n", [L], ["2020-01-01", "label 'l', row 0"]),
    "label far": ("t.csv", long(b"7,8,x\n"), [L], ["'x' in label 'l', row 400000"]),
    "typo": ("t.csv", GOOD + b"1;5,8,0\n", [L], ["numbers in column 'a'", "'1;5' in row 3"]),
    "typo far": ("t.csv", long(b"1;5,8,0\n"), [L], ["numbers in column 'a'", "row 400000"]),
    "arff bad gzip": (
        "t.arff.gz",
        gzip.compress(ROWS)[:20] + b"\xff" * 9,
        [],
        ["can be read"],
    ),
    "arff no gzip": ("t.arff.gz", ROWS, [], ["can be read", "gzip"]),
    "declared number": (
        "t.csv",
        b"a,l\nx,0\ny,1\n",
        [L, "dataset.numeric=[a]"],
        ["numbers in column 'a'", "'x' in row 0"],
    ),
    "infinite": ("t.csv", GOOD + b"inf,8,0\n", [L], ["finite", "inf in column 'a', row 3"]),
    "huge": ("t.csv", GOOD + b"1e999,8,0\n", [L], ["finite", "inf in column 'a', row 3"]),
    "all missing": ("t.csv", b"a,b,l\n1,,0\n2,,1\n", [L], ["a value in each", "feature 'b'"]),
    "all nan": ("t.csv", b"a,b,l\n1,nan,0\n2,nan,1\n", [L], ["a value in each", "'b'"]),
    "long id": ("t.csv", b"a,l\n9007199254740993,0\n", [L], ["up to 2**53", "column 'a', row 0"]),
    "date": ("t.csv", b"a,l\n2020-01-01,0\n2020-02-30,1\n2021-01-01,1\n", [L], ["'a'", "row 1"]),
    "id twice": ("t.csv", b"a,i,l\n1,7,0\n2,7,1\n", [L, ID], ["'7' again", "row 1"]),
    "id missing": ("t.csv", b"a,i,l\n1,7,0\n2,,1\n", [L, ID], ["'i', row 1"]),
    "group missing": ("t.csv", b"a,g,l\n1,7,0\n2,,1\n", [L, GROUP], ["'g', row 1"]),
    "no json": (
        "t.csv",
        b'a,l\n1,"[""x""]"\n2,x|y\n',
        [LIST, "dataset.label_separator=json"],
        ["a JSON list", "'x|y' in column 'l', row 1"],
    ),
    "no labels listed": ("t.csv", b"a,l\n1,\n2,\n", [LIST], ["0 labels"]),
    "no ending": ("t", GOOD, [L], ["no ending", "dataset.format=csv"]),
    "other ending": ("t.sas7bdat", GOOD, [L], ["'.sas7bdat'", "pandas.read_sas('t.sas7bdat')"]),
    "no gzip": ("t.csv.gz", GOOD, [L], ["gzip"]),
    "cut gzip": ("t.csv.gz", gzip.compress(GOOD * 999)[:-40], [L], ["can be read", "Truncated"]),
    "other separator": (
        "t.csv",
        GOOD.replace(b",", b";"),
        [L, "dataset.separator=','"],
        ["one column", "separator=';'"],
    ),
    "parquet list": ("t.parquet", parquet(a=[1], l=[[0]]), [L], ["one value", "list", "'l'"]),
    "parquet group": (
        "t.parquet",
        parquet(a=[1], g=[{"x": 1}], l=[0]),
        [L, GROUP],
        ["one value", "struct", "'g'"],
    ),
    "parquet lists": (
        "t.parquet", parquet(a=[1], l=[["x", None]]), [LIST], ["'l', row 0"]
    ),
    "listed feature": ("t.csv", b"a,l\n1,a\n", [LIST], ["'a' more than once"]),
    "no parquet": ("t.parquet", GOOD, [L], ["a complete Parquet file"]),
    "cut parquet": ("t.parquet", parquet(a=[1], l=[0])[:-9], [L], ["a complete Parquet file"]),
    "parquet text": ("t.parquet", parquet(a=["x"], l=["z"]), [L], ["'z' in label 'l', row 0"]),
    "parquet struct": ("t.parquet", parquet(a=[{"x": 1}], l=[0]), [L], ["struct", "'a'"]),
    "parquet no rows": ("t.parquet", parquet(a=pa.array([], "i4"), l=pa.array([], "i4")), [L], [
        "at least one row"
    ]),
    "arff empty": ("t.arff", b"", [], ["an empty file"]),
    "arff no data": ("t.arff", ARFF[:-6], [L], ["a line @data"]),
    "arff no rows": ("t.arff", ARFF, [L], ["at least one row"]),
    "arff ragged": ("t.arff", ROWS + b"3,x\n", [L], ["3 values", "2 in line 8", "'c'"]),
    "arff long": ("t.arff", ROWS + b"3,x,0,1\n", [L], ["3 values", "4 in line 8"]),
    "arff text": ("t.arff", ROWS + b"z,x,0\n", [L], ["a number in attribute 'a'", "'z' in line 8"]),
    "arff category": ("t.arff", ROWS + b"3,z,0\n", [L], ["attribute 'c'", "'z' in line 8", "x, y"]),
    "arff label": ("t.arff", ROWS + b"3,x,2\n", [L], ["attribute 'l'", "'2' in line 8"]),
    "arff label missing": ("t.arff", ROWS + b"3,x,?\n", [L], ["missing", "label 'l', row 2"]),
    "arff quote": ("t.arff", ROWS + b"3,'x,0\n", [L], ["matching quotes", "line 8"]),
    "arff sparse": ("t.arff", ROWS + b"{0 1,2\n", [L], ["sparse row", "line 8"]),
    "arff sparse far": ("t.arff", ROWS + b"{7 1}\n", [L], ["from 0 to 2", "7", "line 8"]),
    "arff same names": ("t.arff", ROWS.replace(b" c ", b" a "), [L], ["'a' twice"]),
    "arff garbage": ("t.arff", b"hello\n" + ROWS, [L], ["'hello' in line 1"]),
    "arff no type": ("t.arff", b"@attribute a\n" + ROWS, [L], ["a type", "line 1"]),
    "arff string": ("t.arff", ROWS.replace(b"numeric", b"string"), [L], ["'a' of kind string"]),
    "arff inf": ("t.arff", ROWS + b"inf,x,0\n", [L], ["inf in column 'a', row 2"]),
    "arff latin-1": ("t.arff", ROWS + b"% \xe9\n", [L], ["0xe9 in line 8"]),
    "arff all missing": ("t.arff", ARFF + b"?,x,0\n?,y,1\n", [L], ["a value in each", "'a'"]),
    "arff no labels": ("t.arff", ROWS, [], ["an XML file beside", "neither", "dataset.labels="]),
    "arff -C twice": ("t.arff", ROWS.replace(b"n r\n", b"n 'r: -C 1 -C 2'\n"), [], ["2 such"]),
    "arff -C many": ("t.arff", ROWS.replace(b"n r\n", b"n 'r: -C 3'\n"), [], ["fewer", "-C 3"]),
    "arff label name": ("t.arff", ROWS, ["dataset.labels=[m]"], ["dataset.labels", "'m'"]),
    "arff values": ("t.arff", ROWS, ["dataset.labels=[c]"], ["'x' in label 'c', row 0"]),
    "npz text": ("t.npz", GOOD, [], ["numpy.savez"]),
    "npz cut": ("t.npz", npz(X=np.ones((9, 9)), y=np.ones(9))[:-30], [], ["numpy.savez"]),
    "npz no y": ("t.npz", npz(X=np.ones((2, 2)), Y=np.ones(2)), [], ["no y", "Available: X, Y"]),
    "npz objects": ("t.npz", npz(X=np.array([[{}]]), y=np.ones(1)), [], ["without Python objects"]),
    "npz lengths": ("t.npz", npz(X=np.ones((2, 2)), y=np.ones(3)), [], ["2 and 3 rows"]),
    "npz texts": ("t.npz", npz(X=np.array([["a"]]), y=np.ones(1)), [], ["X of numbers"]),
    "npz shape": ("t.npz", npz(X=np.ones(2), y=np.ones(2)), [], ["X of shape", "(2,)"]),
    "npz names": (
        "t.npz",
        npz(X=np.ones((2, 2)), y=np.ones(2), feature_names=["a"]),
        [],
        ["one name for each of 2 columns of X"],
    ),
    "npz label": ("t.npz", npz(X=np.ones((2, 1)), y=[0, 3]), [], ["'3' in label 'y0', row 1"]),
    "npz groups": ("t.npz", npz(X=np.ones((2, 1)), y=[0, 1], groups=[1]), [], ["one per row"]),
    "svm text": ("t.svmlight", b"1 1:0.5\nhello\n", [], ["'hello' in line 2"]),
    "svm value": ("t.svmlight", b"1 1:0.5\n1 2:x\n", [], ["'1 2:x' in line 2"]),
    "svm fraction": ("t.svmlight", b"1 1:1\n1.5 2:1\n", [], ["whole numbers", "1.5 in row 1"]),
    "svm infinity": ("t.svmlight", b"1 1:1\n" + b"9" * 400 + b" 2:1\n", [], ["inf in row 1"]),
    "svm nan": ("t.svmlight", b"1 1:1\nnan 2:1\n", [], ["Received: nan in row 1"]),
    "svm inexact": ("t.svmlight", b"%d 1:1\n1 2:1\n" % (2**53 + 1), [], ["up to 2**53", "row 0"]),
    "svm narrow": ("t.svmlight", b"1 9:1\n", ["dataset.n_features=2"], ["t.svmlight"]),
    "svm huge": ("t.svmlight", b"1 999999999:1\n" * 999, [], ["fits into memory"]),
}  # fmt: skip
OPTIONS = {".arff": "arff", ".npz": "npz", ".svmlight": "svmlight"}


def error_of(make_config, path: Path, *overrides: str) -> str:
    option = OPTIONS.get(Path(path.name.removesuffix(".gz")).suffix, "table")
    config = make_config(f"dataset={option}", f"dataset.path='{path}'", *overrides)
    with pytest.raises(UserError) as caught:
        loading.load(config.dataset)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_errors_name_file_and_position(case, tmp_path, make_config):
    file, content, overrides, parts = CASES[case]
    path = tmp_path / file
    path.write_bytes(content)
    message = error_of(make_config, path, *overrides)
    assert str(path) in message
    for part in (*parts, "expected", "Received: "):
        assert part in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("ending", ["csv", "parquet", "arff", "npz", "svmlight"])
@pytest.mark.parametrize(
    ("path_kind", "part"),
    [("folder", "a directory"), ("missing", "no such file"), ("url", "a URL")],
)
def test_other_paths_are_errors(ending, path_kind, part, tmp_path, make_config):
    (tmp_path / f"folder.{ending}").mkdir()
    path = f"https://host/t.{ending}" if path_kind == "url" else tmp_path / f"{path_kind}.{ending}"
    option = OPTIONS.get(f".{ending}", "table")
    config = make_config(f"dataset={option}", f"dataset.path='{path}'")
    with pytest.raises(UserError, match=part):
        loading.load(config.dataset)


def test_an_error_suggests_a_similar_file(tmp_path, make_config):
    (tmp_path / "emotions.csv").write_bytes(GOOD)
    message = error_of(make_config, tmp_path / "emotion.csv", L)
    assert "no such file; did you mean 'emotions.csv'?" in message


@pytest.mark.parametrize(
    ("xml", "parts"),
    [
        (XML.replace(b'"l"', b'"m"'), ["t.xml", "labels that t.arff has", "'m'"]),
        (XML[:-5], ["t.xml", "an XML file that names labels"]),
        (b"<labels></labels>", ["t.xml", "<label name=...>", "none"]),
        (XML.replace(b"</labels>", b'<label name="l"/></labels>'), ["t.xml", "'l' twice"]),
        (b"", ["t.xml", "an XML file"]),
    ],
)
def test_invalid_xml_is_an_error(xml, parts, tmp_path, make_config):
    (tmp_path / "t.arff").write_bytes(ROWS)
    (tmp_path / "t.xml").write_bytes(xml)
    message = error_of(make_config, tmp_path / "t.arff")
    for part in parts:
        assert part in message


@pytest.mark.parametrize("case", ["ragged short", "label maybe", "arff category"])
def test_the_command_line_ends_with_2_and_no_traceback(case, tmp_path):
    file, content, overrides, parts = CASES[case]
    path = tmp_path / file
    path.write_bytes(content)
    option = OPTIONS.get(path.suffix, "table")
    arguments = (f"dataset={option}", f"dataset.path='{path}'", *overrides)
    _, err = CommandRunner(tmp_path / "store").run_here(*arguments, code=2)
    assert "Traceback" not in err
    for part in parts:
        assert part in err.replace("\n", " ")
