"""The HTML page of a run: complete, without code or requests, and fit for a phone."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.config.serialization import flatten
from pipeline.dataset.summary import summarise
from pipeline.report.artifacts import write_result
from pipeline.report.run_info import RunInfo
from pipeline.report.tables import labels_table, review_tables
from pipeline.scoring.scorer import explain_metric, metric_title
from pipeline.scoring.statistics import choose_decimals, format_number, format_summary
from tests.random_evaluation import METRICS, make_dataset, make_evaluation

HOSTILE_NAMES = (
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>',
    "a & b &amp; {{ 7 * 7 }} {% raw %}",
    "x" * 60,
)
RUN_INFO = RunInfo(
    "0123456789abcdef",
    "<b>name</b>",
    "trial & error",
    datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
    {"version.keras": "3.15", "data_digest": "d" * 32},
)


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        self._open.append(tag)

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def write_files(folder, evaluation):
    """Write what a run logs after its training."""
    summary = summarise(evaluation.dataset)
    write_result(folder, evaluation, summary, RUN_INFO, has_report=True)


def write_page(make_config, folder, label_names=HOSTILE_NAMES, **changes):
    """Write the files of a run and return its evaluation and its page, if there is one."""
    rng = np.random.default_rng(2)
    y = rng.random((60, len(label_names))) < 0.4
    dataset = make_dataset(y, label_names, warnings=("feature '<i>' is constant",))
    evaluation = make_evaluation(make_config(METRICS), dataset, n_repeats=2)
    evaluation = replace(evaluation, config=replace(evaluation.config, **changes))
    write_files(folder, evaluation)
    file = folder / "report.html"
    return evaluation, Page(file.read_text("utf-8")) if file.exists() else None


@pytest.fixture(scope="module")
def full_report(make_config, tmp_path_factory):
    """A report with all figures: folder, evaluation, page."""
    folder = tmp_path_factory.mktemp("report")
    return folder, *write_page(make_config, folder)


def test_names_from_the_data_set_are_escaped(full_report):
    _, _, page = full_report
    assert "script" not in page.tags
    assert not {"b", "i"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for name in (*HOSTILE_NAMES, "<b>name</b>", "trial & error", "Feature '<i>' is constant."):
        assert name in page.text


def test_nothing_is_loaded_from_other_addresses(full_report):
    folder, _, page = full_report
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "srcset")]
    assert len(sources) == len(list((folder / "figures").glob("*.png"))) == 8
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not {"link", "script", "iframe", "object", "embed"} & set(page.tags)
    policy = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    assert any(value.startswith("default-src 'none'; img-src data:") for value in policy)
    style = (folder / "report.html").read_text("utf-8").partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_figure_has_an_alternative_text(full_report):
    _, _, page = full_report
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == 8
    assert all(len(alt) > 40 for alt in alts)


def test_all_settings_and_results_are_on_the_page(full_report):
    _, evaluation, page = full_report
    for key, value in flatten(evaluation.config).items():
        assert f"{key} {value}" in page.text
    for name, metric in evaluation.summary.items():
        numbers = " ".join(format_summary(metric))
        assert metric_title(name) in page.text
        assert explain_metric(name) in page.text
        assert numbers in page.text
    table = labels_table(evaluation)
    columns = (table["label"], evaluation.dataset.y.T, table["f1_mean"], table["f1_std"])
    for label, y, f1, std in zip(*columns, strict=True):
        decimals = choose_decimals(f1, std)
        numbers = f"{format_number(f1, decimals)} ± {format_number(std, decimals)}"
        assert " ".join(f"{label} {y.sum()} {numbers}".split()) in page.text
    for detail in ("0123456789abcdef", "version.keras 3.15", "d" * 32, "2 January 2030, 03:04 UTC"):
        assert detail in page.text
    assert "8 folds in 2 repeats (repeated kfold)" in page.text


def test_labels_and_rows_to_look_at_are_on_the_page(full_report):
    _, evaluation, page = full_report
    tables = review_tables(evaluation)
    titles = [table.title for table in tables]
    assert titles[:2] == ["Labels that look wrong", "Hardest rows"]
    assert titles[-1] == "Confused labels"
    y, losses = evaluation.dataset.y, [float(line[1]) for line in tables[1].lines]
    assert losses == sorted(losses, reverse=True)
    for row, _, given, _ in tables[1].lines:
        n_given = int(y[int(row)].sum())
        assert (given == "none") == (n_given == 0)
    for title, columns, lines in tables:
        assert title in page.texts
        assert all(len(line) == len(columns) for line in lines)
        assert lines[0][-1] in page.texts or "…" in lines[0][-1]


def test_credentials_are_removed(make_config, tmp_path):
    tracking = make_config("tracking.uri='http://me:secret@127.0.0.1:5000'").tracking
    report = make_config("report.figures=false").report
    _, page = write_page(make_config, tmp_path, tracking=tracking, report=report)
    assert "secret" not in page.text
    assert "tracking.uri http://***@127.0.0.1:5000" in page.text
    assert "img" not in page.tags
    assert not (tmp_path / "figures").exists()


def test_figures_and_page_are_optional(make_config, tmp_path):
    none = make_config("report=none").report
    assert write_page(make_config, tmp_path, report=none)[1] is None
    tables = {"folds.json", "labels.json", "checks.json", "predictions.parquet"}
    tables |= {"training.parquet", "warnings.json"}
    assert {path.name for path in tmp_path.iterdir()} == tables
    figures = make_config("report.html=false").report
    assert write_page(make_config, tmp_path, report=figures)[1] is None
    assert {path.name for path in tmp_path.iterdir()} == {*tables, "figures"}


def test_many_labels_are_collapsed(make_config, tmp_path):
    names = tuple(f"label{i}" for i in range(40))
    report = make_config("report.figures=false").report
    _, page = write_page(make_config, tmp_path, names, report=report)
    assert "All 40 labels" in page.text
    assert all(name in page.text for name in names)


def test_one_fold_has_no_deviation_and_no_interval(make_config, tmp_path):
    config = make_config(METRICS, "report.figures=false")
    evaluation = make_evaluation(config, make_dataset(np.eye(9, 3)), n_folds=1)
    write_files(tmp_path, evaluation)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert not {"±", "deviation", "interval", "std"} & set(page.text.split())


@pytest.fixture
def chromium():
    """The command of a headless browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    command = next(filter(None, map(shutil.which, names)), None)
    if not command:
        pytest.skip(f"none of {', '.join(names)} is installed")
    return command


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MEASURE = """<!doctype html><meta charset="utf-8"><body>{frames}<pre id="measured"></pre><script>
onload = () => {{
  measured.textContent = "[" + [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach((it) => {{ it.open = true; }});
    const images = [...page.images].map((it) => it.complete && it.naturalWidth);
    return JSON.stringify({{
      width: page.documentElement.clientWidth, content: page.documentElement.scrollWidth, images,
    }});
  }}) + "]";
}};</script>"""


def test_the_page_fits_a_phone_and_a_desktop(full_report, chromium, tmp_path):
    folder, _, _ = full_report
    page = html.escape((folder / "report.html").read_text("utf-8"))
    widths = (320, 390, 768, 1280)
    frames = "".join(f'<iframe width="{width}" srcdoc="{page}"></iframe>' for width in widths)
    (tmp_path / "measure.html").write_text(MEASURE.format(frames=frames), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    process = subprocess.run(
        [chromium, *FLAGS, profile, "--dump-dom", str(tmp_path / "measure.html")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    text = re.search('<pre id="measured">(.*?)</pre>', process.stdout)[1]
    frames = json.loads(html.unescape(text))
    assert len(frames) == len(widths)
    for width, frame in zip(widths, frames, strict=True):
        assert width - 20 <= frame["width"] <= width  # less by a scroll bar, if there is one
        assert frame["content"] <= frame["width"]
        assert frame["images"] == [1000] * 8
