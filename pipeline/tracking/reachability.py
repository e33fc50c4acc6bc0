"""Connect to the server or database of a store within seconds; MLflow would try for minutes."""

import re
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException
from queue import Empty, Queue
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

SECONDS_TO_ANSWER = 5
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433}


def find_obstacle(uri: str) -> Exception | None:
    """Return the error of connecting to a server or database; None if it answers."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in ("http", "https"):
        return _within_seconds(_ask_server, uri)
    return _within_seconds(_connect, uri) if scheme in _PORTS else None


def _within_seconds(check: Callable[[str], Exception | None], uri: str) -> Exception | None:
    """Run a check in a thread, as looking up a name and connecting may take minutes."""
    result: Queue[Exception | None] = Queue()
    Thread(target=lambda: result.put(check(uri)), daemon=True).start()
    try:
        return result.get(timeout=2 * SECONDS_TO_ANSWER)
    except Empty:
        return TimeoutError(f"no answer within {2 * SECONDS_TO_ANSWER} s")


def _ask_server(uri: str) -> Exception | None:
    address = re.sub("(?<=://)[^/]*@", "", uri).rstrip("/")
    try:
        urlopen(f"{address}/health", timeout=SECONDS_TO_ANSWER).close()
    except HTTPError as error:  # a server without this page answers, too
        return ConnectionError(f"HTTP status {error.code}") if error.code >= 500 else None
    except URLError as error:
        reason = error.reason
        is_tls = isinstance(reason, ssl.SSLError)  # MLflow has settings of its own for that
        return None if is_tls else ConnectionError(str(reason))
    except (OSError, HTTPException, ValueError) as error:
        return ConnectionError(str(error) or type(error).__name__)
    return None


def _connect(uri: str) -> Exception | None:
    try:
        url = make_url(uri)
        engine = create_engine(url, poolclass=NullPool)
        if url.host and "host" not in url.query:
            port = url.port or _PORTS[url.get_backend_name()]
            socket.create_connection((url.host, port), SECONDS_TO_ANSWER).close()
        engine.connect().close()
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        return cause if isinstance(cause, Exception) else error
    except (OSError, ImportError) as error:
        return error
    return None
