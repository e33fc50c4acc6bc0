"""The page of a run: nothing of it runs, loads or is lost, and it fits a phone."""

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

from pipeline.config.compose import flatten
from pipeline.config.schema import ReportConfig
from pipeline.dataset.summary import summarise
from pipeline.report.artifacts import labels_table, write_report
from pipeline.report.page import RunInfo
from pipeline.scoring.scorer import explain_metric, metric_title
from tests.made_up import METRICS, make_dataset, make_evaluation

EVIL = (
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>',
    "a & b &amp; {{ 7 * 7 }} {% raw %}",
    "x" * 60,
)
ORIGIN = RunInfo(
    "0123456789abcdef",
    "<b>name</b>",
    "trial & error",
    datetime(2030, 1, 2, 3, 4, tzinfo=UTC),
    {"version.keras": "3.15", "data_digest": "d" * 32},
)


class Page(HTMLParser):
    """What a browser would find in a page."""

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


def make(make_config, tmp_path, label_names=EVIL, **changes):
    """Write the report of made-up folds and return them with the page, if there is one."""
    rng = np.random.default_rng(2)
    y = rng.random((60, len(label_names))) < 0.4
    dataset = make_dataset(y, label_names, warnings=("feature '<i>' is odd",))
    evaluation = make_evaluation(make_config(METRICS), dataset, n_repeats=2)
    evaluation = replace(evaluation, config=replace(evaluation.config, **changes))
    write_report(tmp_path, evaluation, summarise(dataset), ORIGIN, labels_table(evaluation))
    file = tmp_path / "report.html"
    return evaluation, Page(file.read_text("utf-8")) if file.exists() else None


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """One report with everything in it: folder, evaluation, page."""
    folder = tmp_path_factory.mktemp("report")
    return folder, *make(make_config, folder)


def test_names_from_the_data_stay_text(whole):
    _, _, page = whole
    assert "script" not in page.tags
    assert not {"b", "i"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for name in (*EVIL, "<b>name</b>", "trial & error", "Feature '<i>' is odd."):
        assert name in page.text


def test_nothing_is_loaded_from_elsewhere(whole):
    folder, _, page = whole
    sources = [value for _, name, value in page.attributes if name in ("src", "href", "srcset")]
    assert len(sources) == len(list((folder / "figures").glob("*.png"))) == 8
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not {"link", "script", "iframe", "object", "embed"} & set(page.tags)
    policy = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    assert any(value.startswith("default-src 'none'; img-src data:") for value in policy)
    style = (folder / "report.html").read_text("utf-8").partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_figure_is_told_in_words(whole):
    _, _, page = whole
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == 8
    assert all(len(alt) > 40 for alt in alts)


def test_all_that_was_asked_and_found_is_there(whole):
    _, evaluation, page = whole
    for key, value in flatten(evaluation.config).items():
        assert f"{key} {value}" in page.text
    for name, metric in evaluation.summary.items():
        low, high = metric.ci
        numbers = f"{metric.mean:.3f} {metric.std:.3f} {low:.3f} to {high:.3f}"
        assert metric_title(name) in page.text
        assert explain_metric(name) in page.text
        assert numbers in page.text
    table = labels_table(evaluation)
    for label, f1, std in zip(table["label"], table["f1_mean"], table["f1_std"], strict=True):
        count = int(evaluation.dataset.y[:, list(table["label"]).index(label)].sum())
        assert " ".join(f"{label} {count} {f1:.2f} ± {std:.2f}".split()) in page.text
    for detail in ("0123456789abcdef", "version.keras 3.15", "d" * 32, "2 January 2030, 03:04 UTC"):
        assert detail in page.text
    assert "8 folds in 2 repeats (repeated kfold)" in page.text


def test_passwords_are_left_out(make_config, tmp_path):
    tracking = make_config("tracking.uri='http://me:secret@127.0.0.1:5000'").tracking
    report = ReportConfig(figures=False, html=True)
    _, page = make(make_config, tmp_path, tracking=tracking, report=report)
    assert "secret" not in page.text
    assert "tracking.uri http://…@127.0.0.1:5000" in page.text
    assert "img" not in page.tags
    assert not (tmp_path / "figures").exists()


def test_figures_and_page_can_be_left_out(make_config, tmp_path):
    none = make_config("report=none").report
    assert make(make_config, tmp_path, report=none)[1] is None
    assert not list(tmp_path.iterdir())
    assert make(make_config, tmp_path, report=ReportConfig(figures=True, html=False))[1] is None
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_many_labels_are_folded_away(make_config, tmp_path):
    names = tuple(f"label{i}" for i in range(40))
    report = ReportConfig(figures=False, html=True)
    _, page = make(make_config, tmp_path, names, report=report)
    assert "All 40 labels" in page.text
    assert all(name in page.text for name in names)


@pytest.fixture
def chromium():
    """The command of a browser without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip(f"none of {', '.join(names)} is installed")
    return found


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MEASURE = """<!doctype html><meta charset="utf-8"><body>{frames}<pre id="found"></pre><script>
onload = () => {{
  found.textContent = "[" + [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach((it) => {{ it.open = true; }});
    const images = [...page.images].map((it) => it.complete && it.naturalWidth);
    return JSON.stringify({{
      width: page.documentElement.clientWidth, content: page.documentElement.scrollWidth, images,
    }});
  }}) + "]";
}};</script>"""


def test_it_fits_a_phone_and_a_desktop(whole, chromium, tmp_path):
    folder, _, _ = whole
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
    found = json.loads(html.unescape(re.search('<pre id="found">(.*?)</pre>', process.stdout)[1]))
    assert len(found) == len(widths)
    for width, measured in zip(widths, found, strict=True):
        assert width - 20 <= measured["width"] <= width  # a scroll bar, perhaps
        assert measured["content"] <= measured["width"]
        assert measured["images"] == [1000] * 8
