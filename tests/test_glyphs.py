"""Names in figures: fonts for their characters, numbers where there is no font, one line each."""

import warnings
from datetime import datetime

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font

from pipeline.dataset import summarise
from pipeline.report import glyphs
from pipeline.report.artifacts import write_report
from pipeline.report.run_info import RunInfo
from pipeline.report.style import report_style
from pipeline.report.tables import labels_table
from tests.random_evaluation import make_dataset, make_evaluation, with_summary

PRIVATE = "\U00100000\U00100001"  # in no font: characters for private use
NAMES = (
    "cost $x_1$ and $y",
    "[bold]x[/]",
    "<b>&amp;",
    "a\nb\tc",
    "n" * 300,
    PRIVATE,
    "é Ж ع",
    "%s {0}",
)


@pytest.fixture(autouse=True)
def _no_fallbacks(monkeypatch):
    monkeypatch.setattr(glyphs, "_fallbacks", [])
    glyphs._has_font.cache_clear()
    yield
    glyphs._has_font.cache_clear()


def test_a_name_in_no_font_becomes_its_number():
    assert glyphs.to_drawable(NAMES) == [*NAMES[:3], "a b c", NAMES[4], "#6", *NAMES[6:]]
    assert glyphs.describe_numbers(NAMES) == f"#6: {PRIVATE}"
    assert glyphs.describe_numbers(("a\nb",)) == ""
    assert glyphs.replace_undrawable(f"F1: {PRIVATE}") == "F1: ??"


def test_a_font_of_the_system_lends_its_characters():
    """STIX comes with Matplotlib and has characters that DejaVu Sans lacks."""
    of = {font.name: font.fname for font in fontManager.ttflist}
    lacking = set(get_font(of["STIXGeneral"]).get_charmap()) - set(
        get_font(of["DejaVu Sans"]).get_charmap()
    )
    character = next(chr(code) for code in sorted(lacking) if 0x2000 < code < 0xE000)
    with report_style([f"name {character}"]), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure()
        figure.text(0, 0, f"name {character}")
        figure.canvas.draw()
    assert glyphs.to_drawable([character]) == [character]
    assert glyphs._fallbacks


def test_the_report_of_such_names(make_config, tmp_path):
    y = np.random.default_rng(0).random((60, len(NAMES))) < 0.4
    dataset = make_dataset(y, label_names=NAMES)
    evaluation = with_summary(make_evaluation(make_config(), dataset))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        info = RunInfo("id", "name", "x", datetime.now(), {})
        labels = labels_table(evaluation)
        write_report(tmp_path, evaluation, summarise(dataset), info, labels)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"number them: #6: {PRIVATE}" in page
    assert "<b>&amp;</" not in page
