"""What the README says, held to the letter."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.commands import compare

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"`python -m (pipeline\S*)([^`]*)`", README)
ELSEWHERE = {"...", "model=mine"}  # the reader's own


@pytest.mark.parametrize(("program", "rest"), COMMANDS, ids=lambda text: text.strip())
def test_every_command_is_one_the_program_takes(program, rest, make_config):
    assert program == "pipeline"
    arguments = shlex.split(rest.replace("\\|", "|"))
    if arguments[:1] == ["compare"]:
        compare.make_parser().parse_args(arguments[1:])
        return
    overrides = [word for word in arguments if "=" in word and word not in ELSEWHERE]
    if "dataset=table" in overrides and not any("dataset.path" in word for word in overrides):
        overrides += ["dataset.path=data.csv"]
    if "--multirun" in arguments:
        overrides = [re.sub(r"=(\[.*?\]),.*", r"=\1", word) for word in overrides]
        overrides = [word.replace("range(3)", "2") for word in overrides]
        overrides = [re.sub(r"=.*interval\((.*?),.*", r"=\1", word) for word in overrides]
    flags = {word for word in arguments if word.startswith("--")}
    assert flags <= {"--multirun", "--config-dir", "--cfg", "--help"}
    make_config(*overrides)


def test_every_path_and_target_exists():
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)`?", README):
        assert f"\n{target}:" in makefile


def test_the_kinds_are_as_many_as_it_says():
    words = {"six": 6, "seven": 7}
    for number, folder in re.findall(r"\[(\w+) [^]]*\]\(conf/(\w+)\)", README):
        assert len(list((ROOT / "conf" / folder).glob("*.yaml"))) == words[number]


def test_each_setting_says_what_it_is_for():
    for path in (ROOT / "conf").rglob("*.yaml"):
        first, *others = path.read_text().splitlines()
        comment = others[0] if first.startswith("# @package") else first
        assert comment.startswith("# "), path
        assert len(comment) > 30, path
