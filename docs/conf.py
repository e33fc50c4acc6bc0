"""Sphinx: the site of the documentation, with pages made from the parsers and from conf/."""

import re
import sys
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from pipeline.commands import COMMANDS  # noqa: E402

project = "Manyfold"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_site", "**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = "Manyfold"
html_show_sphinx = False
myst_heading_anchors = 4
default_role = "code"  # docstrings have single backquotes
smartquotes = False
myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"  # the outputs in the notebook are shown; a test executes it
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_use_ivar = True
napoleon_attr_annotations = False  # np.str_ would be read as a reference
suppress_warnings = ["mystnb.unknown_mime_type"]

LINK_TO_CONF = re.compile(r"\]\((?:\.\./)?conf(?:/(\w+))?(?:/\w+\.yaml)?\)")


def write_generated_pages(app):
    """Write a page for each command, from its parser, and one for the files of settings."""
    folder = DOCS / "generated"
    folder.mkdir(exist_ok=True)
    for name in COMMANDS:
        _write(folder / f"{name}.md", _command_page(name))
    _write(folder / "settings.md", _settings_page())


def _command_page(name):
    module = import_module(f"pipeline.commands.{name}")
    title = f"# `manyfold {name}`\n\n{module.__doc__.strip()}\n"
    if not hasattr(module, "make_parser"):  # Hydra's
        example = "manyfold describe dataset=table dataset.path=data.csv 'dataset.labels=[tag_*]'"
        return f"{title}\nIt takes the [settings](settings.md) of training:\n\n    {example}\n"
    parser = module.make_parser()
    parser.formatter_class = _formatter
    parser.prog = f"manyfold {name}"
    return f"{title}\n```text\n{parser.format_help().rstrip()}\n```\n"


def _formatter(prog):
    from argparse import HelpFormatter

    return HelpFormatter(prog, width=90)


def _settings_page():
    lines = [
        "# Settings",
        "The files of `conf/`: each is an option of its group. The first line says what it is for.",
    ]
    groups = sorted(path for path in (ROOT / "conf").iterdir() if path.is_dir())
    for path in (ROOT / "conf" / "config.yaml", *groups):
        files = [path] if path.is_file() else sorted(path.rglob("*.yaml"))
        lines.append(f"(conf-{path.stem})=\n## {path.stem}")
        for file in files:
            name = file.relative_to(ROOT / "conf")
            lines.append(f"### `{name}`\n\n```yaml\n{file.read_text().rstrip()}\n```")
    return "\n\n".join(lines) + "\n"


def _write(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def link_to_settings(app, name, source):
    """Let links to files of conf/, which GitHub shows, lead to the page of settings."""

    def target(match):
        anchor = f"conf-{match[1]}" if match[1] else "settings"
        return f"](generated/settings.md#{anchor})"

    source[0] = LINK_TO_CONF.sub(target, source[0])


def setup(app):
    """Register the pages that are made from the code."""
    app.connect("builder-inited", write_generated_pages)
    app.connect("source-read", link_to_settings)
