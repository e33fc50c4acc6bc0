"""Other files of tables give what the same values give as CSV; quoting joins no lines unseen."""

import gzip
import io
import json
import re
import time
import zipfile
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from pipeline import runtime
from pipeline.dataset import excel, loading
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError

FRAME = pd.DataFrame(
    {
        "a": [1.5, -2.0, None, 4.25],
        "n": [1, 2, 3, 5],
        "c": ["x", "NA", "y, z", 'q "r"'],
        "d": ["2024-01-31", "2024-02-01", "2024-03-01", "2024-03-02"],
        "l": [True, False, True, False],
        "m": [0, 1, 1, 1],
    }
)
OPTIONS = ("dataset.labels=[l,m]", "dataset.numeric=[d]")


@pytest.fixture
def load(tmp_path, make_config):
    def load(content: bytes | str, file: str, *overrides: str) -> Dataset:
        path = tmp_path / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        config = make_config("dataset=table", f"dataset.path='{path}'", *overrides)
        return loading.load(config.dataset)

    return load


def zipped(*members: tuple[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def feather(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(frame, buffer, compression="zstd")
    return buffer.getvalue()


def workbook(*rows: list, **sheets: list[list]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name, cells in sheets.items():
        sheet = book.create_sheet(name)
        for row in cells:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def excel_of(frame: pd.DataFrame) -> bytes:
    cells = [[None if pd.isna(cell) else cell for cell in row] for row in frame.values.tolist()]
    return workbook(list(frame.columns), *cells)


TYPED = FRAME.assign(d=pd.to_datetime(FRAME["d"]))
CSV = FRAME.to_csv(index=False)
JSONL = FRAME.to_json(orient="records", lines=True)
FORMATS = {
    "t.feather": lambda: feather(TYPED),
    "t.arrow": lambda: feather(TYPED),
    "t.jsonl": lambda: JSONL,
    "t.json": lambda: JSONL,
    "t.ndjson.gz": lambda: gzip.compress(JSONL.encode()),
    "t.xlsx": lambda: excel_of(FRAME),
    "t.csv.zip": lambda: zipped(("t.csv", CSV)),
    "t.zip": lambda: zipped(("README.md", "x"), ("in/t.csv", CSV), ("__MACOSX/._t.csv", "x")),
    "t.tsv.zip": lambda: zipped(("../../t.tsv", FRAME.to_csv(index=False, sep="\t"))),
    "t.csv.gz.zip": lambda: zipped(("t.csv.gz", gzip.compress(CSV.encode()))),
    "t.parquet.zip": lambda: zipped(("t.parquet", TYPED.to_parquet())),
    "t.jsonl.zip": lambda: zipped(("t.jsonl", JSONL)),
    "t.xlsx.zip": lambda: zipped(("t.xlsx", excel_of(FRAME))),
}


@pytest.mark.parametrize("file", FORMATS)
def test_every_format_gives_what_csv_gives(file, load, tmp_path):
    dataset, expected = load(FORMATS[file](), file, *OPTIONS), load(CSV, "t.csv", *OPTIONS)
    assert dataset.digest == expected.digest
    assert dataset.schema == expected.schema
    assert dataset.source == str(tmp_path / file)
    assert dataset.name.startswith("t")


@pytest.mark.parametrize("file", FORMATS)
def test_missing_values_have_the_configured_texts(file, load):
    options = (*OPTIONS, "dataset.na_values=['5',x,'']")
    dataset, expected = load(FORMATS[file](), file, *options), load(CSV, "t.csv", *options)
    np.testing.assert_array_equal(dataset.X, expected.X)
    assert np.isnan(dataset.X[3, 1])


def test_cells_of_excel_are_the_texts_of_csv(load):
    rows = [
        ["when", "at", "zone", "x", "l"],
        [datetime(2024, 1, 31), datetime(2024, 1, 31, 12, 30), "01", 0.1, 1],
        [],
        [date(2024, 2, 1), datetime(2024, 2, 1, 0, 0, 1), "2", 1e-7, 0],
        [None, None, "01", None, 1, None],
    ]
    options = ["dataset.labels=[l]", "dataset.numeric=[when,at]", "dataset.categorical=[zone]"]
    text = (
        "when,at,zone,x,l\n2024-01-31,2024-01-31 12:30:00,01,0.1,1\n"
        "2024-02-01,2024-02-01 00:00:01,2,1e-07,0\n,,01,,1\n"
    )
    expected = load(text, "t.csv", *options)
    assert load(workbook(*rows), "t.xlsx", *options).digest == expected.digest
    comma = load(workbook(*rows), "t.xlsx", *options, "dataset.decimal=','")
    np.testing.assert_array_equal(comma.X, expected.X)


def test_texts_of_a_workbook_are_bounded_before_it_is_loaded(load, monkeypatch):
    shared = zipped(("xl/sharedStrings.xml", "x" * 600_000), ("xl/worksheets/sheet1.xml", "x"))
    monkeypatch.setattr(excel, "available_memory", lambda: 2_000_000)
    monkeypatch.setattr("openpyxl.load_workbook", None)
    with pytest.raises(UserError, match=r"t\.xlsx: expected a table that fits .* texts"):
        load(shared, "t.xlsx", "dataset.labels=[l]")


def test_durations_of_excel_and_blank_rows_below_the_table(load):
    rows = (["d", "l"], [timedelta(hours=37, minutes=30), 0], [timedelta(hours=1), 1])
    dataset = load(workbook(*rows), "t.xlsx", "dataset.labels=[l]")
    assert dataset.schema.columns[0].kind == "duration"
    assert (dataset.X[:, 0] + dataset.schema.offsets[0]).tolist() == [135000, 3600]
    assert not load(
        workbook(["c", "l"], ["x\ny", 0], ["z", 1]), "t.xlsx", "dataset.labels=[l]"
    ).warnings
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(*rows))) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            text = old.read(name).replace(b'ref="A1:B3"', b'ref="A1:XFD1048576"')
            new.writestr(name, text)
    assert load(content.getvalue(), "t.xlsx", "dataset.labels=[l]").digest == dataset.digest


def test_arff_and_svmlight_in_zip_archives(tmp_path, make_config):
    arff = "@relation t\n@attribute a numeric\n@attribute l {0,1}\n@data\n1,0\n2,1\n"
    for kind, name, text in (("arff", "a.arff", arff), ("svmlight", "a.svm", "0,1 1:2\n1 1:3\n")):
        path = tmp_path / f"{kind}.zip"
        path.write_bytes(zipped((name, text)))
        labels = ["dataset.labels=[l]"] if kind == "arff" else []
        config = make_config(f"dataset={kind}", f"dataset.path='{path}'", *labels).dataset
        dataset = loading.load(config)
        assert dataset.n_samples == 2
        assert dataset.name == kind


def test_numbers_as_names_of_columns_are_named(load):
    text = "5,0\n6,1\n7,0\n"
    (warning,) = load(text, "t.csv", "dataset.last_labels=1").warnings
    assert "names of the columns are numbers, such as '5'" in warning
    assert "dataset.header=false" in warning
    assert not load("0,1\n6,1\n7,0\n", "t.csv", "dataset.last_labels=1").warnings


def test_a_sheet_of_several_is_named(load):
    content = workbook(["a", "l"], [1, 0], [2, 1], more=[["a", "l"], [5, 0], [6, 1]], none=[])
    with pytest.raises(UserError, match=r"dataset\.sheet\. Received: 2 sheets .*Sheet, more, none"):
        load(content, "t.xlsx", "dataset.labels=[l]")
    with pytest.raises(UserError, match=r"Received: dataset\.sheet=z"):
        load(content, "t.xlsx", "dataset.labels=[l]", "dataset.sheet=z")
    dataset = load(content, "t.xlsx", "dataset.labels=[l]", "dataset.sheet=more")
    assert (dataset.X[:, 0] + dataset.schema.offsets[0]).tolist() == [5, 6]
    rows = workbook([1, 0], [2, 1, 3])
    options = ["dataset.header=false", "dataset.labels=[f1]", "dataset.drop=[f2]"]
    assert load(rows, "h.xlsx", *options).n_samples == 2
    with pytest.raises(UserError, match=r"2 columns, .* 3 in row 2"):
        load(rows, "h.xlsx", "dataset.last_labels=1")


def test_without_openpyxl_the_command_is_named(load, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(excel, "import_module", missing)
    with pytest.raises(UserError, match=r"t\.xlsx: .* pip install 'manyfold\[excel\]'$"):
        load(b"x", "t.xlsx", "dataset.labels=[l]")


def test_json_objects_may_omit_keys_and_hold_lists(load):
    lines = [{"a": 1, "tags": ["x", "y"]}, {"tags": []}, {"a": 2.5, "tags": ["y"]}]
    dataset = load("\n".join(map(json.dumps, lines)), "t.jsonl", "dataset.label_list_column=tags")
    np.testing.assert_array_equal(dataset.X[:, 0], [1, np.nan, 2.5])
    assert dataset.y.tolist() == [[1, 1], [0, 0], [0, 1]]


def parquet(frame: pd.DataFrame) -> bytes:
    return frame.to_parquet(compression="none")


def damaged(write, text: str) -> bytes:
    """Return a file with a text whose bytes are no UTF-8."""
    content = write(pd.DataFrame({"l": [0, 1], "a": [text, "x"]}))
    return content.replace(text.encode(), b"\xff" * len(text))


def damaged_offsets() -> bytes:
    """Return a file whose second text begins far behind the end of all texts."""
    buffer, offsets = io.BytesIO(), np.array([0, 3, 8, 9], np.int32)
    table = pa.table({"l": [0, 1, 0], "a": ["xxx", "yyyyy", "z"]})
    pyarrow.feather.write_feather(table, buffer, compression="uncompressed")
    wrong = np.array([0, 2**30, 2**30, 9], np.int32)
    return buffer.getvalue().replace(offsets.tobytes(), wrong.tobytes())


def damaged_workbook() -> bytes:
    content = workbook(["a", "l"], *([i, i % 2] for i in range(999)))
    start = content.index(b"xl/worksheets/sheet1.xml") + len("xl/worksheets/sheet1.xml")
    return content[:start] + b"\xff" * 9 + content[start + 9 :]  # no valid kind of a block


def with_shared_texts(content: bytes, n: int) -> bytes:
    """Return a workbook with a list of texts, which its cells could share."""
    texts = "".join(f"<si><t>{i}</t></si>" for i in range(n))
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    types = members["[Content_Types].xml"].replace(b"</Types>", part.encode())
    members |= {"[Content_Types].xml": types}
    members |= {"xl/sharedStrings.xml": f'<sst xmlns="{space}">{texts}</sst>'.encode()}
    return zipped(*members.items())


def with_dimension(content: bytes, dimension: str) -> bytes:
    """Return a workbook whose sheet claims another size, as it does if columns have a format."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    members[sheet] = re.sub(
        rb'ref="A1:[A-Z0-9]+"', b'ref="%s"' % dimension.encode(), members[sheet]
    )
    return zipped(*members.items())


def test_formatted_columns_without_values_cost_no_time(load):
    plain = workbook(["a", "l"], *([i, i % 2] for i in range(1000)))
    seconds = {}
    for dimension in ("A1:B1001", "A1:XFD1001"):
        start = time.process_time()
        dataset = load(with_dimension(plain, dimension), "t.xlsx", L)
        seconds[dimension] = time.process_time() - start
        assert dataset.X[:, 0].tolist() == list(range(1000))
    assert seconds["A1:XFD1001"] < 3 * seconds["A1:B1001"] + 0.3


L = "dataset.labels=[l]"
ERRORS = {
    "two tables": ("t.zip", lambda: zipped(("a.csv", CSV), ("b.tsv", CSV)), "2 tables .*a.csv"),
    "no table": ("t.zip", lambda: zipped(("a.md", CSV), ("b.txt", CSV)), "0 tables among 2 files"),
    "empty": ("t.zip", lambda: zipped(("a/", "")), "0 tables"),
    "damaged zip": ("t.zip", lambda: zipped(("a.csv", CSV))[:-30], "a complete zip archive"),
    "damaged member": ("t.zip", lambda: zipped(("a.csv", CSV)).replace(b"x", b"y"), "t.zip"),
    "as csv": ("t.csv", lambda: zipped(("a.csv", CSV), ("b.csv", CSV)), "one table"),
    "arff in zip": ("t.zip", lambda: zipped(("a.arff", "@data")), "t.zip: .*Give dataset=arff$"),
    "zip in zip": ("t.zip", lambda: zipped(("a.zip", "x")), "t.zip: .*Extract it first$"),
    "workbook as csv": ("t.csv", lambda: workbook(["a", "l"], [1, 0]), "Give dataset.format=excel"),
    "gzip as csv": ("t.csv", lambda: gzip.compress(b"a,l"), "End its name in .gz"),
    "parquet as csv": ("t.csv", lambda: b"PAR1" + b"\0" * 9, "Give dataset.format=parquet"),
    "old workbook": ("t.xls", lambda: b"\xd0\xcf\x11\xe0", r"pandas.read_excel\('t.xls'\).to_par"),
    "columns of json": ("t.json", lambda: '{"a":[1,2],"l":[0,1]}', "pandas.read_json"),
    "nested json": ("t.jsonl", lambda: '{"a":{"x":1},"l":0}', "drop=.a.. or .* pandas.json_normal"),
    "blanks": ("t.csv", lambda: "a b l\n1 2 0\n", "Give .dataset.separator=' '"),
    "wide blanks": ("t.csv", lambda: "a   l\n1   0\n", r"pandas.read_csv\('t.csv', sep="),
    "a page": ("t.csv", lambda: "<!DOCTYPE html><html>\n", "a page of the web"),
    "UTF-16 without a mark": ("t.csv", lambda: "a,l\n1,0\n".encode("utf-16-le"),
        "Give dataset.encoding=utf-16-le"),
    "cp1252": ("t.csv", lambda: "€,l\n1,0\n".encode("cp1252"), "dataset.encoding=cp1252"),
    "title": ("t.csv", lambda: "Report\na,b,l\n1,2,0\n", "the first line, 'Report', has no names"),
    "sep": ("t.csv", lambda: "sep=,\na,b,l\n1,2,0\n", "the first line, 'sep=,', has no names"),
    "row names": ("t.csv", lambda: "a,l\n1,2,0\n3,4,1\n", "add a name to the first line"),
    "title in a sheet": ("t.xlsx", lambda: workbook(["Report"], ["a", "l"], [1, 0]), "Delete rows"),
    "formulas": ("t.xlsx", lambda: workbook(["a", "f", "l"], [1, "=A2", 0]), "save the workbook"),
    "no feather": ("t.feather", lambda: b"hello", "complete Feather file"),
    "no excel": ("t.xlsx", lambda: b"hello", "complete .xlsx workbook"),
    "zip as excel": ("t.xlsx", lambda: zipped(("a.csv", CSV)), "complete .xlsx workbook"),
    "no json": ("t.jsonl", lambda: "hello", "JSON object in each line"),
    "json list": ("t.json", lambda: '[{"l": 1}]', "lines=True"),
    "json not in utf-8": ("t.jsonl", lambda: b'{"l": 1, "a": "\xff"}', "JSON object in each line"),
    "json key not in utf-8": ("t.jsonl", lambda: b'{"l": 1, "\xff": 1}', "JSON object"),
    "feather not in utf-8": ("t.feather", lambda: damaged(feather, "not a number"), "Invalid UTF8"),
    "feather offsets": ("t.feather", damaged_offsets, "complete Feather file"),
    "parquet not in utf-8": ("t.parquet", lambda: damaged(parquet, "not a number"), "Parquet file"),
    "damaged excel": ("t.xlsx", damaged_workbook, "complete .xlsx workbook"),
    "two types": ("t.jsonl", lambda: '{"l": 1}\n{"l": "x"}', "JSON object in each line"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_files_that_cannot_be_read_are_named(case, load):
    file, make, message = ERRORS[case]
    if "excel" in case:
        pytest.importorskip("openpyxl")
    with pytest.raises(UserError, match=message) as caught:
        load(make(), file, L)
    assert file in str(caught.value)


@pytest.mark.parametrize(
    ("file", "make"),
    [
        ("t.zip", lambda: zipped(("a.csv", b"a,l\n" + b"1,0\n" * 2**24))),
        ("t.jsonl", lambda: '{"l": 1}\n' * 2**22),
        ("t.jsonl", lambda: json.dumps({f"k{i}": 1 for i in range(9999)}) + "\n{}" * 400),
        (
            "t.parquet",
            lambda: pd.DataFrame({"a": ["x" * 9000] * 10**4, "l": 0}).to_parquet(),
        ),
        ("t.xlsx", lambda: with_shared_texts(workbook(["a", "l"], [1, 0]), 2**18)),
        ("t.feather", lambda: feather(pd.DataFrame(dict.fromkeys("al", np.zeros(2**23, np.int8))))),
    ],
)
def test_files_that_unpack_to_more_than_the_memory(file, make, load, tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text(f"MemAvailable: {2**15} kB\n")
    monkeypatch.setattr(runtime, "PROC", tmp_path)
    content, before = make(), pa.total_allocated_bytes()
    with pytest.raises(UserError, match="expected a table that fits into memory"):
        load(content, file, L, "dataset.memory_map=false")
    assert pa.total_allocated_bytes() - before < 100 * 2**20


SWALLOWED = 'text,x,l\n"5 inch,1,0\nb,2,1\nc,3,0\n4"" disk",4,1\ne,5,0\n'


@pytest.mark.parametrize("file", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_that_join_lines_are_a_warning(file, end, load):
    text = SWALLOWED.replace(",", "\t") if "tsv" in file else SWALLOWED
    content = text.replace("\n", end).encode()
    content = gzip.compress(content) if file.endswith("gz") else content
    (warning,) = load(content, file, L).warnings
    assert "6 lines of " in warning
    assert f"{file} are 2 rows" in warning
    assert "column 'text', row 0 (the first is 0), has 4 lines" in warning
    assert "dataset.quoting=none" in warning
    dataset = load(content, file, L, "dataset.quoting=none")
    assert dataset.n_samples == 5
    assert not dataset.warnings


@pytest.mark.parametrize(
    "content",
    ["a,l\n1,0\n2,1", "a,l\n\n1,0\n\n2,1\n\n", "a,l\r1,0\r2,1\r", 'a,l\n"x, y",0\n"5"" z",1\n',
     'a,l\n5" x,0\ny,1\n'],
)  # fmt: skip
def test_ordinary_lines_are_no_warning(content, load):
    assert not load(content, "t.csv", L).warnings


def test_quotes_in_dropped_columns_and_other_encodings_count_too(load):
    content = 'note,a,l\n"x\n\ny",1,0\nz,2,1\n'
    (warning,) = load(content, "t.csv", L, "dataset.drop=[note]").warnings
    assert "quoted cells span lines: 4 lines" in warning
    (warning,) = load(content.encode("utf-16"), "t.csv", L, "dataset.encoding=utf-16").warnings
    assert "row 0 (the first is 0), has 3 lines" in warning
    content = SWALLOWED.replace('"', "").encode("utf-16")
    assert not load(content, "t.csv", L, "dataset.encoding=utf-16").warnings
