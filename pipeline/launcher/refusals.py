"""What keeps jobs from running on other machines, found before anything starts."""

import re
import shutil
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.launcher.plugin import RAY, SLURM

if TYPE_CHECKING:
    from omegaconf import DictConfig

LIBRARIES = {RAY: ("ray", "ray"), SLURM: ("submitit", "slurm")}  # and the extras that bring them
PROGRAMS = ("sbatch", "srun", "scancel")
LOCAL = "local"  # the address of a Ray that is started on this machine, for this sweep
OF_ONE_MACHINE = re.compile(r"sqlite|file:|[./]")  # how the URIs of such stores begin


def make_ready(config: "DictConfig") -> None:
    """Refuse a remote launcher that could not work, and connect to its cluster.

    Args:
        config: What Hydra composed for the launching process.

    Raises:
        UserError: With the remedy.
    """
    target = config.hydra.launcher._target_
    if target not in LIBRARIES:
        return
    settings, name = config.hydra.launcher, config.hydra.runtime.choices["hydra/launcher"]
    if target == SLURM or settings.address != LOCAL:
        _refuse_store_of_one_machine(name, config.tracking.uri)
    library, extra = LIBRARIES[target]
    if find_spec(library) is None:
        raise UserError(
            f"hydra/launcher={name}: {library} is not installed. Install it: pip install "
            f"'manyfold[{extra}]'"
        )
    if target == RAY:
        from pipeline.launcher.on_ray import connect

        connect(str(settings.address))
    elif missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise UserError(
            f"hydra/launcher={name}: expected Slurm's commands on the PATH. Missing: "
            f"{', '.join(missing)}. Run this where jobs are submitted, on a login node."
        )


def server_command(host: str, port: int = 5000) -> str:
    """Return the command that starts a tracking server for several machines.

    Args:
        host: Its name, as other machines know it.
        port: Where it listens.
    """
    lines = (
        f"mlflow server --host 0.0.0.0 --port {port} --app-name basic-auth",
        "--backend-store-uri postgresql+psycopg://manyfold@127.0.0.1:5432/mlflow",
        "--artifacts-destination /srv/mlflow/artifacts",
        f"--allowed-hosts {host}:{port},localhost:{port},127.0.0.1:{port}",
    )
    return " \\\n    ".join(lines)


def _refuse_store_of_one_machine(launcher: str, uri: str | None) -> None:
    if uri and not OF_ONE_MACHINE.match(uri):
        return
    host = socket.gethostname()
    raise UserError(
        f"hydra/launcher={launcher}: jobs on other machines cannot write to the SQLite store of "
        f"this one. Expected tracking.uri=http://..., a server that all of them reach. Received: "
        f"{uri or 'none, which is SQLite under mlruns/'}. Start one with\n"
        f"  {server_command(host)}\n"
        f"and repeat this command with tracking.uri=http://{host}:5000 . docs/scale-out.md has "
        "each step, the database and the passwords included.\n"
        "Name a folder that all machines share as tracking.checkpoints, too: without one, "
        "`resume=true` trains what was interrupted from its beginning."
    )
