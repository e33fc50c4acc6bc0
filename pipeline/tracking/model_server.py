"""MLflow's scoring server around a loaded model, in this process."""

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pandas as pd
import uvicorn
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc.scoring_server import init

from pipeline.errors import UserError
from pipeline.model.loaded_model import PARAMS, LoadedModel
from pipeline.tracking.logged_model import make_signature

HOST = "127.0.0.1"
PORT = 5001  # the UI has 5000
PATH = "/invocations"
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Service:
    """A model as MLflow's server calls it.

    Attributes:
        metadata: MLflow's description of the model.
    """

    def __init__(self, model: LoadedModel) -> None:
        """Describe the model for MLflow."""
        self._model = model
        signature = make_signature(model.schema.names, model.label_names, model.schema.texts)
        self.metadata = Model(signature=signature)

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return one column per label.

        Args:
            data: Raw rows in named columns.
            params: As of `LoadedModel.predict`.

        Raises:
            MlflowException: If the rows or the params are invalid; the server answers with its
                message and status 400.
        """
        try:
            unknown = [name for name in params or {} if name not in PARAMS]
            if unknown:
                raise ValueError(
                    f"Expected params among {', '.join(PARAMS)}. Received: {', '.join(unknown)}."
                )
            rows = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
            return self._model.predict(rows, params)
        except (TypeError, ValueError) as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def make_app(model: LoadedModel) -> Callable[..., Awaitable[None]]:
    """Return MLflow's server as an ASGI application; it refuses requests without a body."""
    app = init(Service(model))  # type: ignore[arg-type]

    async def checked(scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            headers = dict(scope["headers"])
            if headers.get(b"content-length") == b"0":
                await _refuse(send, "Expected rows in the body. Received: an empty body.")
                return
            if b"content-type" not in headers:
                await _refuse(send, "Expected the header Content-Type: application/json.")
                return
        await app(scope, receive, send)

    return checked


async def _refuse(send: Send, message: str) -> None:
    body = json.dumps({"error_code": "BAD_REQUEST", "message": message}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bind_port(port: int | None) -> socket.socket:
    """Return a socket of this machine at a port; by default 5001, or another one if it is in use.

    Raises:
        UserError: If the given port is in use.
    """
    for number in (PORT, 0) if port is None else (port,):
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, number))
        except (OSError, OverflowError) as error:
            server.close()
            reason = str(error)
        else:
            return server
    raise UserError(f"--port: expected a free port. Received: {port} ({reason}).")


def serve(model: LoadedModel, server: socket.socket) -> None:
    """Serve a model until a signal arrives."""
    config = uvicorn.Config(make_app(model), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[server])
