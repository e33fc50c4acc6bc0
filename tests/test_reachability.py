"""A store that does not answer is an error within seconds, before anything is trained."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy

from pipeline.errors import UserError
from pipeline.tracking import reachability
from pipeline.tracking.store import check_store, store_at


@contextmanager
def serve(answer: bytes | None):
    """Accept connections on a port of this machine, and send an answer or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connections = []

        def accept() -> None:
            with suppress(OSError):  # of sockets that are closed at the end
                while True:
                    connection, _ = listening.accept()
                    connections.append(connection)
                    if answer is not None:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in connections:
            connection.close()


def check(uri: str) -> str:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        check_store(store_at(uri))
    assert time.monotonic() - start < 3
    return str(caught.value)


@pytest.fixture(autouse=True)
def _one_second(monkeypatch):
    monkeypatch.setattr(reachability, "SECONDS_TO_ANSWER", 0.4)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "timed out"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "HTTP status 503"),
        (b"SSH-2.0\r\n", "SSH"),
    ],
)
def test_a_server_that_does_not_answer(answer, reason):
    with serve(answer) as port:
        message = check(f"http://me:secret@127.0.0.1:{port}")
    assert "expected a running MLflow server" in message
    assert reason in message
    assert "secret" not in message


@pytest.mark.parametrize("status", [b"200 OK", b"401 Unauthorized", b"404 Not Found"])
def test_a_server_that_answers(status):
    with serve(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as port:
        check_store(store_at(f"http://me:secret@127.0.0.1:{port}/mlflow"))


@pytest.fixture
def _driver(monkeypatch):
    """Stand in for a database driver that waits until the server hangs up."""
    create = sqlalchemy.create_engine

    class Engine:
        def connect(self):
            raise sqlalchemy.exc.OperationalError("connect", {}, OSError("password rejected"))

    def create_engine(url, **options):
        return Engine() if url.host == "127.0.0.1" else create("sqlite://")

    monkeypatch.setattr(reachability, "create_engine", create_engine)


@pytest.mark.usefixtures("_driver")
def test_a_database_that_does_not_answer(monkeypatch):
    assert "Connection refused" in check("postgresql+psycopg://me:secret@127.0.0.1:9/db")
    with serve(b"") as port:
        message = check(f"mysql+pymysql://me:secret@127.0.0.1:{port}/db")
    assert "password rejected" in message
    assert "secret" not in message

    def wait(*arguments):
        time.sleep(3)
        raise OSError("too late")

    monkeypatch.setattr(socket, "create_connection", wait)
    assert "no answer within" in check("postgresql+psycopg://me@far.example/db")
