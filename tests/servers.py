"""Servers on 127.0.0.1 for the tests of Ray and Slurm sweeps, as context managers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
USER = "manyfold"
PASSWORD = "only-for-these-tests"
# Ray would look up the address that other hosts know; this makes it 127.0.0.1.
RAY_START = """
from ray._private import services
services.node_ip_address_from_perspective = lambda address=None: "127.0.0.1"
from ray.scripts.scripts import main
main()
"""
# Ray would use a token of the user's home folder, which the other nodes would need, too.
NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}
# The same as RAY_START for a process that connects.
JOIN_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **NO_TOKEN}


def free_port(first: int = 0) -> int:
    """Return a free port below the range that systems give to clients, from the first on."""
    for port in range(first or 21000 + os.getpid() % 1000 * 10, 32000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))  # fails also while a closed connection lingers
            return port
    raise RuntimeError("no port is free")


def wait_for(name, condition, process=None, log=None, seconds=120):
    """Wait until a condition holds; fail with the log if the process ends or it takes too long."""
    until = time.monotonic() + seconds
    while not condition():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > until:
            written = log.read_text()[-3000:] if log and log.exists() else ""
            pytest.fail(f"{name}: {'ended' if ended else 'not ready in time'}\n{written}")
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


def end(process: subprocess.Popen, seconds: float = 30) -> None:
    """Terminate a process and kill the rest of its process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def started(command, log: Path, **options) -> Iterator[subprocess.Popen]:
    """Run a command in a process group of its own while the block lasts."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        yield process
    finally:
        end(process)


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, which is not on the PATH on Debian."""
    initdb = shutil.which("initdb")
    folders = [Path(initdb).resolve().parent] if initdb else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


@contextmanager
def postgres(folder: Path, databases) -> Iterator[int]:
    """Run PostgreSQL with a password, as an ordinary user, and yield its port.

    Args:
        folder: An empty folder that this user may enter.
        databases: Names of the databases to create.
    """
    programs, port = postgres_programs(), free_port()
    # PostgreSQL refuses to run as root.
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    user_options = nobody if os.getuid() == 0 else {}
    if user_options:
        shutil.chown(folder, "nobody", "nogroup")
    environment = os.environ | {"LC_ALL": "C.UTF-8", "PGPASSWORD": PASSWORD}

    def run(program: str, *arguments: str, check=True) -> None:
        subprocess.run(
            [programs / program, *arguments],
            check=check, env=environment, cwd=folder, stdout=subprocess.DEVNULL, **user_options,
        )  # fmt: skip

    password_file, data = folder / "password", str(folder / "data")
    password_file.write_text(PASSWORD)
    password_file.chmod(0o644)
    run(
        "initdb", "--pgdata", data, "--username", USER, "--pwfile", str(password_file),
        "--auth", "scram-sha-256", "--no-sync",
    )  # fmt: skip
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    run("pg_ctl", "--pgdata", data, "--wait", "--log", str(folder / "log"), "-o", options, "start")
    try:
        for database in databases:
            connection = ("--host", "127.0.0.1", "--port", str(port), "--username", USER)
            run("createdb", *connection, database)
        yield port
    finally:
        run("pg_ctl", "--pgdata", data, "--mode", "fast", "--wait", "stop", check=False)


@contextmanager
def ray_cluster(folder: Path, path: str, n_attempts: int = 3) -> Iterator[str]:
    """Run a Ray cluster of two nodes with one core each and yield its address.

    Now and then, the second node cannot reach the first on a busy machine, although it listens; a
    new cluster on other ports then can.

    Args:
        folder: An empty folder.
        path: Folder from which the nodes import modules.
        n_attempts: Clusters to try to start.
    """
    for attempt in range(n_attempts):
        with ExitStack() as stack:
            own = folder / str(attempt)
            own.mkdir()
            try:
                address = stack.enter_context(_started_ray_cluster(own, path))
            except pytest.fail.Exception:
                if attempt == n_attempts - 1:
                    raise
                continue
            yield address
            return


@contextmanager
def _started_ray_cluster(folder: Path, path: str) -> Iterator[str]:
    port = free_port()
    client_port = free_port(port + 1)
    common = [
        "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--disable-usage-stats",
        "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
    ]  # fmt: skip
    head = [
        "--head", f"--port={port}", f"--ray-client-server-port={client_port}",
        "--include-dashboard=false", f"--temp-dir={folder}",
    ]  # fmt: skip
    address = f"127.0.0.1:{port}"
    start_folder = folder / "start"  # jobs must not depend on the working directory of their node
    start_folder.mkdir()
    node = [f"--address={address}", "--include-log-monitor=false"]  # the head has one
    start = [sys.executable, "-c", RAY_START, "start"]
    options = {"cwd": start_folder, "env": os.environ | {"PYTHONPATH": path, **NO_TOKEN}}
    with ExitStack() as stack:
        for name, arguments in (("head", head), ("node", node)):  # the node once the head answers
            log = folder / f"{name}.log"
            process = stack.enter_context(started([*start, *arguments, *common], log, **options))
            wait_for(
                f"Ray's {name}",
                lambda log=log: "runtime started" in log.read_text(),
                *(process, log, 60),
            )
        yield address


@contextmanager
def open_mlflow_server(folder: Path, password: str) -> Iterator[str]:
    """Run an MLflow server without users and yield its URI, with a password that it ignores."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with started(command, folder / "log", cwd=folder) as process:
        wait_for("the MLflow server", lambda: listens(port), process, folder / "log")
        yield f"http://ann:{password}@127.0.0.1:{port}"


@contextmanager
def mlflow_server(folder: Path, command: str, port: int, database_port: int) -> Iterator[dict]:
    """Run an MLflow server with users and yield the environment variables of its clients.

    Args:
        folder: Folder of the log and of the settings of users.
        command: Shell command of the server.
        port: Port of the server.
        database_port: Port of its PostgreSQL database.
    """
    users = f"postgresql+psycopg://{USER}@127.0.0.1:{database_port}/mlflow_auth"
    settings = folder / "basic_auth.ini"
    settings.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {users}\nadmin_username = admin\n"
        "auth_cache_ttl_seconds = 60\n"
    )
    environment = os.environ | {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": PASSWORD,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # needs more processes
        "PGPASSWORD": PASSWORD,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    log = folder / "mlflow.log"
    with started(["bash", "-c", f"exec {command}"], log, cwd=folder, env=environment) as server:
        wait_for("the MLflow server", lambda: listens(port), server, log)
        yield {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
