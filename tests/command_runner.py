"""Runs the command line against a store of its own, and reads the runs that it leaves."""

import atexit
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline import command_line


@cache
def _empty_database() -> Path:
    """Return a store of MLflow without runs to copy; to create one takes two seconds."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return folder / "mlflow.db"


def create_store(folder: Path) -> str:
    """Create a store of MLflow in a folder, which is created if missing, and return its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{shutil.copy(_empty_database(), folder)}"


class CommandRunner:
    """Runs `python -m pipeline` with an MLflow store in a folder."""

    def __init__(self, folder: Path, uri: str | None = None) -> None:
        self.folder = folder
        self.uri = uri or create_store(folder)
        self.client = MlflowClient(self.uri)

    def start(
        self, *arguments: str, max_file_size: int | None = None, new_session: bool = False
    ) -> "subprocess.Popen[str]":
        """Start the program in a process.

        Args:
            arguments: Of the command line.
            max_file_size: Bytes that no file may exceed, as on a full disk; None for no limit.
            new_session: Whether its process group is its own.
        """

        def prepare_process():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if max_file_size:
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_size, max_file_size))

        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *self._complete(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare_process,
            start_new_session=new_session,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run the program in a process and return what it printed: output and errors."""
        process = self.start(*arguments)
        out, err = process.communicate()
        assert process.returncode == code, out + err
        return out, err

    def run_here(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run the program in this process, which saves the import of TensorFlow."""
        out, err = StringIO(), StringIO()
        with (
            patch.object(sys, "argv", ["pipeline/__main__.py", *self._complete(arguments)]),
            patch("pipeline.sweeps.OptunaSweeper.n_failed", 0),  # of an earlier search
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                returned = command_line.train()
            except SystemExit as ended:
                returned = ended.code
        assert returned == code, out.getvalue() + err.getvalue()
        return out.getvalue(), err.getvalue()

    def runs(self, experiment: str = "manyfold") -> list[Run]:
        """Return the runs of an experiment, the latest first."""
        found = self.client.get_experiment_by_name(experiment)
        return self.client.search_runs([found.experiment_id]) if found else []

    def jobs_and_parent(self) -> tuple[list[Run], Run | None]:
        """Return the listed jobs of the only sweep in their order, and its parent run if any."""
        runs = self.runs()
        parents = [run for run in runs if "is_sweep" in run.data.tags]
        assert len(parents) <= 1
        jobs = [run for run in runs if run not in parents and "superseded_by" not in run.data.tags]
        jobs.sort(key=lambda run: int(run.data.tags.get("sweep_job", 0)))
        return jobs, parents[0] if parents else None

    def _complete(self, arguments: tuple[str, ...]) -> list[str]:
        folders = [f"hydra.run.dir={self.folder}/hydra", f"hydra.sweep.dir={self.folder}/sweep"]
        has_store = any(it.startswith(("tracking.uri=", "tracking=")) for it in arguments)
        return [*arguments, *folders, *([] if has_store else [f"tracking.uri={self.uri}"])]


def artifact(run: Run, name: str) -> Path:
    """Return the path of a file or folder that a run logged."""
    return Path(run.info.artifact_uri.removeprefix("file://")) / name
