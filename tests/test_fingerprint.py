"""Fingerprints change with everything that can change a score, and with nothing else."""

import importlib
import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.config import flatten
from pipeline.cv import make_splits
from pipeline.dataset import load
from pipeline.evaluation import fingerprint
from pipeline.evaluation.fingerprint import code_version, compute_fingerprint

FILES = {
    "my_model.py": "import math\nimport numpy as np\nfrom my_layers import dense\n"
    "class Model:\n    def build(): pass\ndef build(): pass\n",
    "my_layers/__init__.py": "from .inner.blocks import dense\nfrom . import sizes\n",
    "my_layers/inner/blocks.py": (
        "def dense():\n    from ..activations import relu\n    import my_constants\n"
    ),
    "my_layers/activations.py": "import no_such_module, my_layers, PIL.Image\nrelu = 1\n",
    "my_layers/sizes.py": "SIZE = 1\n",
    "my_constants.py": "import my_model  # a cycle\n",
    "my_layers/unused.py": "raise RuntimeError('fingerprints import nothing')\n",
    "unused.py": "raise RuntimeError('fingerprints import nothing')\n",
}
NEEDED = [name for name in FILES if "unused" not in name]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    importlib.invalidate_caches()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with a model of the user, from which its command is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, FILES)
    return tmp_path


@pytest.mark.parametrize("path", ["my_model.build", "my_model.Model.build"])
@pytest.mark.parametrize("file", NEEDED)
def test_an_edit_of_any_module_that_a_callable_needs_changes_the_code_version(project, path, file):
    before = code_version([path])
    assert code_version([path]) == before
    (project / file).write_text(FILES[file] + "# edited\n")
    assert code_version([path]) != before
    (project / file).write_text(FILES[file])
    assert code_version([path]) == before


@pytest.mark.parametrize("file", [name for name in FILES if "unused" in name] + ["other.py"])
def test_an_edit_of_an_unrelated_file_does_not(project, file):
    before = code_version(["my_model.build"])
    (project / file).write_text("edited = 1\n")
    assert code_version(["my_model.build"]) == before


def test_a_moved_folder_does_not(project, tmp_path_factory, monkeypatch):
    before = code_version(["my_model.build"])
    monkeypatch.setattr(sys, "path", [it for it in sys.path if it != str(project)])
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(elsewhere)
    write(elsewhere, FILES)
    assert code_version(["my_model.build"]) == before


@pytest.mark.parametrize("text", ["def build(:\n", "\0", "from ... import x\n", "\xe9"])
def test_a_module_that_cannot_be_parsed_counts_by_its_bytes(project, text):
    (project / "my_model.py").write_text(text, encoding="latin-1")
    before = code_version(["my_model.build"])
    (project / "my_model.py").write_text(text + "\n", encoding="latin-1")
    assert code_version(["my_model.build"]) != before


@pytest.fixture
def versions(monkeypatch) -> dict[str, str]:
    """Versions of packages that differ from the installed ones."""
    fingerprint._manyfold()  # which is cached, as the versions of a process do not change
    others: dict[str, str] = {}
    installed = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: others.get(name) or installed(name))
    return others


def test_an_installed_package_counts_by_its_version(versions):
    before = code_version(["PIL.Image.open"])
    assert before == code_version(["PIL.ImageFile.ImageFile"]) != code_version()
    versions["pillow"] = "99.0"
    assert code_version(["PIL.Image.open"]) != before


def test_an_installed_package_that_the_users_module_imports_counts_too(project, versions):
    before = code_version(["my_model.build"])
    versions["pillow"] = "99.0"
    assert code_version(["my_model.build"]) != before
    versions["mlflow"] = "99.0"
    versions["pillow"] = ""
    assert code_version(["my_model.build"]) == before


def test_a_classifier_of_scikit_learn_counts_by_the_version_that_always_counts():
    assert code_version(["sklearn.svm.SVC"]) == code_version()


def test_an_installed_file_without_metadata_counts_by_its_bytes(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    write(folder, {"loose_module.py": "def build(): pass\n"})
    monkeypatch.syspath_prepend(folder)
    before = code_version(["loose_module.build"])
    (folder / "loose_module.py").write_text("def build(): return 1\n")
    assert code_version(["loose_module.build"]) != before


@pytest.fixture
def fingerprint_of(make_config):
    def of(*overrides: str) -> dict[str, str]:
        config = make_config("dataset.n_samples=30", "cv.n_splits=2", *overrides)
        dataset = load(config.dataset)
        return compute_fingerprint(config, dataset, make_splits(config.cv, dataset))

    return of


def test_settings_without_influence_on_scores_do_not_count(fingerprint_of):
    before = fingerprint_of()
    assert before == fingerprint_of("training.n_threads=3", "resume=true", "report.html=false")
    assert before == fingerprint_of("training.fits_per_program=null")
    assert before != fingerprint_of("training.epochs=3")


def test_the_size_of_stacks_counts_if_it_is_set(fingerprint_of):
    sizes = ("null", "1", "2")
    digests = {fingerprint_of(f"training.fits_per_program={it}")["config_digest"] for it in sizes}
    assert len(digests) == 3


def test_the_digest_of_other_configurations_is_that_of_their_other_settings(
    fingerprint_of, make_config
):
    ignored = (
        "report",
        "checks",
        "racing",
        "tracking.",
        "resume",
        "dataset.predict_rows",
        "training.n_thre",
    )
    config = make_config("dataset.n_samples=30", "cv.n_splits=2")
    settings = {
        key: value
        for key, value in flatten(config).items()
        if not key.startswith(
            (*ignored, "training.fits_per_program", "preprocessing.datetime", "preprocessing.text")
        )
    }
    expected = sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]
    assert fingerprint_of()["config_digest"] == expected


def test_settings_of_outer_folds_count_only_where_there_are_some(make_config):
    for cv in ("repeated_kfold", "shuffle_split", "predefined", "time_series"):
        assert not [key for key in flatten(make_config(f"cv={cv}")) if "outer" in key]
    settings = flatten(make_config("cv.outer_splits=5"))
    assert (settings["cv.outer_splits"], settings["cv.outer_repeats"]) == ("5", "1")
