"""The commands, links and counts in README.md and docs/ are valid."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from pipeline import sweeps
from pipeline.command_line import parse
from pipeline.commands import COMMANDS
from pipeline.commands.reproduce import separate
from pipeline.config import parse_config
from pipeline.runtime import CONF_DIR

ROOT = Path(__file__).parents[1]
DOCUMENTS = {path.name: path for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
TEXTS = {name: path.read_text() for name, path in DOCUMENTS.items()}
# In a table cell, a code block or a sentence; ends at the closing backtick or the end of the line.
COMMAND = re.compile(r"(?:python -m pipeline|(?:^|`)manyfold)(?=[ `\n])([^`\n]*)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]+))?\)")


def commands() -> list:
    """Return the arguments of each command in the documents, as test parameters."""
    params = []
    for name, text in TEXTS.items():
        for match in COMMAND.finditer(text.replace("\\\n", " ").replace("\\|", "|")):
            arguments = match[1].strip()
            params.append(pytest.param(arguments, id=f"{name}: {arguments}"))
    return params


def first_value(override: Override) -> str:
    """Return an override with the first value of its sweep, if it is one."""
    if not override.is_sweep_override():
        return override.input_line
    value = override.value()
    if isinstance(value, IntervalSweep):
        return f"{override.get_key_element()}={value.start}"
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("line", commands())
def test_commands_are_valid(line, make_config):
    words = shlex.split(line)
    command = words.pop(0) if words and words[0] in COMMANDS else "train"
    if command in ("importance", "reproduce"):
        words, _ = separate(words)
    if command not in ("train", "describe"):
        if words:  # else a sentence that mentions the command
            parse(import_module(f"pipeline.commands.{command}").make_parser(), words)
        return
    overrides = get_args_parser().parse_args(words).overrides
    if "--config-dir" in words:
        overrides.remove("model=mine")  # a file of the reader's
    sweeps.register()
    parsed = OverridesParser.create().parse_overrides(overrides)
    overrides = [first_value(override) for override in parsed]
    if command == "train":
        make_config(*overrides)
        return
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        parse_config(compose("describe", overrides=overrides))


def test_usage_shows_every_command():
    lines = [param.values[0] for param in commands() if param.id.startswith("usage.md")]
    assert {*COMMANDS} <= {line.partition(" ")[0] for line in lines}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_target_and_benchmark_exists(name):
    for path, anchor in LINK.findall(TEXTS[name]):
        target = DOCUMENTS[name].parent / path if path else DOCUMENTS[name]
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), anchor
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([\w-]+)", TEXTS[name], re.MULTILINE):
        assert f"\n{target}:" in makefile
    for benchmark in re.findall(r"benchmarks[./](\w+)(?:\.py)?`", TEXTS[name]):
        assert (ROOT / "benchmarks" / f"{benchmark}.py").exists(), benchmark


def test_the_numbers_of_options_are_right():
    numbers = {"seven": 7}
    counts = re.findall(r"\[(\w+) [^]]*\]\(conf/(\w+)\)", TEXTS["README.md"])
    assert len(counts) == 2
    for number, folder in counts:
        assert len(list((ROOT / "conf" / folder).glob("*.yaml"))) == numbers[number]


def test_every_file_of_settings_starts_with_its_purpose():
    for path in (ROOT / "conf").rglob("*.yaml"):
        first, *others = path.read_text().splitlines()
        comment = others[0] if first.startswith("# @package") else first
        assert comment.startswith("# "), path
        assert len(comment) > 30, path


def test_the_help_lists_every_command():
    sweeps.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        footer = compose("config", return_hydra_config=True).hydra.help.footer
    (line,) = [line for line in footer.splitlines() if line.startswith("Commands:")]
    names = line.removeprefix("Commands:").partition(";")[0]
    assert names.replace(" ", "").split(",") == list(COMMANDS)
