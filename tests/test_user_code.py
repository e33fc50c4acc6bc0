"""The import of the user's callables, and the modules that travel with a logged model."""

import os

import pytest

from pipeline.errors import UserError
from pipeline.user_code import find_user_code, import_callable


def test_a_callable_is_imported_by_its_dotted_path():
    assert import_callable("model.builder", "os.path.join") is os.path.join


@pytest.mark.parametrize("path", ["no_such_module.build", "os.no_such", "os", ".build", ""])
def test_a_path_that_does_not_exist_is_rejected(path):
    with pytest.raises(UserError, match=r"^model.builder: expected the dotted path"):
        import_callable("model.builder", path)


def test_an_object_that_is_not_callable_is_rejected():
    with pytest.raises(UserError, match=r"^k: expected a callable. Received: 'os.sep', a str\.$"):
        import_callable("k", "os.sep")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 +", "SyntaxError: invalid syntax"), ("nothing", "NameError: name 'nothing' is not")],
)
def test_a_module_that_fails_at_import_is_rejected(tmp_path, monkeypatch, text, expected):
    (tmp_path / f"broken_{len(text)}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"^k: expected .* to be importable. Received: {expected}"):
        import_callable("k", f"broken_{len(text)}.build")


def test_modules_of_a_namespace_package_and_what_they_import_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "own_namespace" / "models"
    folder.mkdir(parents=True)
    (folder / "build.py").write_text("from . import layers\nimport own_helper\nimport rich, json\n")
    (folder / "layers.py").write_text("")
    (folder / "unrelated.py").write_text("")
    (folder / "rows.csv").write_text("a table of gigabytes")
    (tmp_path / "own_helper.py").write_text("from own_namespace.models.build import build")
    monkeypatch.syspath_prepend(tmp_path)
    code = find_user_code(["own_namespace.models.build.make"])
    assert code.modules == {
        "own_namespace.models.build": folder / "build.py",
        "own_namespace.models.layers": folder / "layers.py",
        "own_helper": tmp_path / "own_helper.py",
    }
    assert code.packages == {"rich"}


def test_the_modules_of_a_package_are_found_with_its_init(tmp_path, monkeypatch):
    folder = tmp_path / "own_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from own_package.constants import SIZE")
    for name in ("constants", "build", "unrelated"):
        (folder / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    modules = find_user_code(["own_package.build.make"]).modules
    assert set(modules) == {"own_package", "own_package.build", "own_package.constants"}
