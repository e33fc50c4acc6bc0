"""Compiled programs are kept for later processes, and a damaged one is compiled again."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.training import program_cache
from pipeline.training.program_cache import enable_program_cache, save_programs

PROGRAM = """
import json, os
from pathlib import Path
from pipeline.keras_backend import import_keras
from pipeline.training.program_cache import enable_program_cache, save_programs
assert enable_program_cache() == [] == enable_program_cache()
import_keras()
import tensorflow as tf
sines = tf.function(lambda x: tf.reduce_sum(tf.sin(x)), jit_compile=True)
cosines = tf.function(lambda x: tf.reduce_sum(tf.cos(x)), jit_compile=True)
own = Path(os.environ["TF_XLA_FLAGS"].rpartition("=")[2])
before = sorted(path.name for path in own.iterdir())
x = tf.range(1000.0)
results = [float(sines(x)), float(cosines(x))]
save_programs()
print(json.dumps([before, results, str(own)]))
"""


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """Return the folder of all programs of a cache of its own."""
    monkeypatch.setenv("MANYFOLD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    monkeypatch.setattr(program_cache, "_own", {})
    monkeypatch.setattr(program_cache.atexit, "register", lambda *_, **__: None)
    return tmp_path / "cache" / "programs"


def own_folder() -> Path:
    return Path(os.environ["TF_XLA_FLAGS"].rpartition("=")[2])


def start_process(monkeypatch) -> Path:
    """Enable the cache as another process of the same machine; return its own folder."""
    monkeypatch.setattr(program_cache, "_own", {})
    assert enable_program_cache() == []
    return own_folder()


def entries(root: Path) -> list[Path]:
    """Return the shared programs of all machines."""
    return sorted(root.glob("*/*.pb.*"))


def test_later_processes_load_programs_and_compile_damaged_ones_again(root, monkeypatch):
    def run() -> tuple[list[str], list[float], Path]:
        variables = {key: value for key, value in os.environ.items() if key != "TF_XLA_FLAGS"}
        variables.pop("TF_CPP_MIN_LOG_LEVEL")
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        before, results, own = json.loads(process.stdout)
        return before, results, Path(own)

    before, results, own = run()
    kept, damaged = entries(root)
    assert before == []
    assert not own.exists()  # removed at the end of the process
    state = kept.stat()
    damaged.write_bytes(damaged.read_bytes()[:-100])
    before, again, _ = run()
    assert before == [kept.name.rpartition(".")[0]]
    assert again == results
    assert entries(root)[0] == kept
    assert [path.name.partition(".")[0] for path in entries(root)] == [
        path.name.partition(".")[0] for path in (kept, damaged)
    ]
    assert kept.stat().st_ino == state.st_ino  # neither was it written again
    assert kept.stat().st_mtime_ns == state.st_mtime_ns


def test_complete_programs_are_shared_and_linked(root, monkeypatch):
    own = start_process(monkeypatch)
    (own / "a.pb").write_bytes(b"program")
    save_programs()
    assert [path.name.rpartition(".")[0] for path in entries(root)] == ["a.pb"]
    second = start_process(monkeypatch)
    assert second != own
    assert (second / "a.pb").read_bytes() == b"program"
    save_programs()  # nothing new
    assert len(entries(root)) == 1
    (entries(root)[0]).write_bytes(b"programs")
    assert list(start_process(monkeypatch).iterdir()) == []
    assert entries(root) == []


def test_processes_that_compile_the_same_share_it_once(root, monkeypatch):
    folders = [start_process(monkeypatch) for _ in range(8)]
    for index, own in enumerate(folders):
        (own / "a.pb").write_bytes(b"program")
        (own / "b.pb").write_bytes(b"other" * (1 + index % 2))  # compiled in two ways
    barrier = threading.Barrier(len(folders))

    def share(own: Path) -> None:
        barrier.wait()
        monkeypatch.setitem(program_cache._own, os.getpid(), own)
        save_programs()

    threads = [threading.Thread(target=share, args=[own]) for own in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in folders:
        monkeypatch.setitem(program_cache._own, os.getpid(), own)
        save_programs()
    assert len(entries(root)) == 3
    linked = {path.name: path.read_bytes() for path in start_process(monkeypatch).iterdir()}
    assert linked["a.pb"] == b"program"
    assert linked["b.pb"] in (b"other", b"otherother")


def test_only_the_user_has_access(root, monkeypatch):
    own = start_process(monkeypatch)
    for folder in (root, own.parent, own):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    root.chmod(0o755)
    monkeypatch.setattr(program_cache, "_own", {})
    monkeypatch.delenv("TF_XLA_FLAGS")
    (warning,) = enable_program_cache()
    assert f"expected {root} to be a folder of yours alone (chmod 700)" in warning
    assert "TF_XLA_FLAGS" not in os.environ
    root.chmod(0o700)
    elsewhere = root.rename(root.with_name("elsewhere"))
    root.symlink_to(elsewhere)
    assert "expected" in enable_program_cache()[0]


def test_a_folder_that_cannot_be_made_is_said(tmp_path, root, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MANYFOLD_CACHE_DIR", str(tmp_path / "file"))
    (warning,) = enable_program_cache()
    assert warning.startswith("compiled programs are not kept for later runs: ")
    assert warning.endswith("(MANYFOLD_CACHE_DIR=off)")


def test_off_and_the_users_own_cache_leave_everything_as_it_is(root, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/mine")
    assert enable_program_cache() == []
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_persistent_cache_directory=/mine"
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=1")
    monkeypatch.setenv("MANYFOLD_CACHE_DIR", "off")
    assert enable_program_cache() == []
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_auto_jit=1"
    assert not root.exists()


def test_a_child_replaces_the_folder_of_its_parent(root, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=0")
    own = start_process(monkeypatch)
    child = start_process(monkeypatch)
    of_cpu = "--tf_xla_persistent_cache_device_types=CPU"
    flags = f"--tf_xla_auto_jit=0 {of_cpu} --tf_xla_persistent_cache_directory={child}"
    assert os.environ["TF_XLA_FLAGS"] == flags
    assert child.parent == own.parent


@pytest.mark.parametrize(
    "change",
    [
        {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"},
        {"TF_XLA_FLAGS": "--tf_xla_min_cluster_size=2"},
        {"MANYFOLD_CORES": "1"},
    ],
)
def test_programs_of_other_settings_are_apart(root, monkeypatch, change):
    monkeypatch.setenv("MANYFOLD_CORES", "2")
    own = start_process(monkeypatch)
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    assert start_process(monkeypatch).parent != own.parent


def test_old_programs_and_what_killed_processes_left_are_removed(root, monkeypatch):
    own = start_process(monkeypatch)
    folder = own.parent
    for name in ("old", "new", "last"):
        (own / f"{name}.pb").write_bytes(name.encode() * 100)
    save_programs()
    for age, path in enumerate(sorted(entries(root), key=lambda path: "oln".index(path.name[0]))):
        os.utime(path, (1e9 + age, 1e9 + age))
    os.utime(own, (1e9, 1e9))
    for index in range(9):
        other = root / f"machine-{index}"
        other.mkdir(mode=0o700)
        os.utime(other, (1e9 + index, 1e9 + index))
    monkeypatch.setattr(program_cache, "MAX_BYTES", 750)
    start_process(monkeypatch)
    assert {path.name.partition(".")[0] for path in entries(root)} == {"new", "last"}
    assert not own.exists()
    assert {path.name for path in root.iterdir()} == {
        folder.name,
        *(f"machine-{index}" for index in range(2, 9)),
    }


def test_programs_that_another_process_removes_meanwhile_are_left_to_it(root, monkeypatch):
    folder = start_process(monkeypatch).parent
    (folder / "a.pb.0").touch()
    listed = {root: [folder, root / "removed"], folder: [*folder.iterdir(), folder / "b.pb.1"]}
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(listed[path]))
    program_cache._clean(root, folder)
    assert (folder / "a.pb.0").exists()


def test_a_nearly_full_disk_keeps_nothing(root, monkeypatch):
    monkeypatch.setattr(program_cache, "MIN_FREE_BYTES", 2**80)
    assert enable_program_cache() == []
    assert "TF_XLA_FLAGS" not in os.environ
