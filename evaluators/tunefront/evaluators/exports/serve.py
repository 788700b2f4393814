"""HTTP server for the exported model in this folder.

python serve.py --host 127.0.0.1 --port 8000
python serve.py --example > request.json     the recorded request

GET  /health     describes the model and its inputs
POST /predict    {"inputs": {"NAME": [nested lists]}} returns {"outputs": [nested lists]}

Requires fastapi, uvicorn and the requirements of run.py, which opens the model. It has no
tokenizer, authentication or encryption: put it behind a service that has them. Requests must name
a known host and have the content type application/json, so that pages in a browser can't send any.

This file and connections.py are copied into exports unchanged, so they import nothing from
tunefront.
"""

import os
import sys

if __name__ == "__main__":
    sys.dont_write_bytecode = True  # a new file here would be none that the manifest lists
    # Imports never look into this folder: a file here would hide a library of its name.
    _FOLDER = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != _FOLDER]

import argparse
import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

HERE = Path(__file__).parent
_Array = npt.NDArray[Any]
KINDS = {"i": "iu", "u": "iu", "f": "iuf", "b": "b"}
"""Array kinds that numbers in JSON can have, by the kind of the input (numpy's `dtype.kind`)."""
KIND_NAMES = {"i": "whole numbers", "u": "whole numbers", "f": "numbers", "b": "true and false"}
SEE = "GET /health lists the inputs"
ALL_ADDRESSES = ("0.0.0.0", "::", "")
BYTES_A_NUMBER = 64
"""Bytes of a body for each number that the inputs may have; 22 digits, the rest is white space."""
LEAST_BYTES = 2**16
LINGER_S = 5
"""Time for the rest of a body that is too large, s."""


class Refused(Exception):
    """A rejected request: HTTP status and reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The rules of an input.

    Attributes:
        dtype: Type of its numbers.
        shape: Size of each dimension, or a name if the size varies.
        most: Maximum count of numbers.
    """

    dtype: np.dtype[Any]
    shape: Sequence[str | int]
    most: int

    def words(self) -> dict[str, object]:
        """Return the rules as JSON values, for /health."""
        return {"dtype": str(self.dtype), "shape": list(self.shape), "most_numbers": self.most}


def read_inputs(folder: Path, times: int) -> dict[str, Input]:
    """Read the rules in inputs.json; `times` is the maximum size relative to the recorded input."""
    written = json.loads((folder / "inputs.json").read_text())
    recorded = read_example(folder)
    return {
        name: Input(
            dtype=np.dtype(fields["dtype"]),
            shape=tuple(fields["shape"]),
            most=times * recorded[name].size,
        )
        for name, fields in written.items()
    }


def read_example(folder: Path) -> dict[str, _Array]:
    """Read the recorded request."""
    with np.load(folder / "samples.npz", allow_pickle=False) as samples:
        return {n[6:]: samples[n] for n in samples.files if n.startswith("input_")}


def arrays_of(body: bytes, inputs: Mapping[str, Input]) -> dict[str, _Array]:
    """Parse and validate the body of a request.

    Raises:
        Refused: With status 422 or 413, the rule and the value found.
    """
    try:
        request = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(422, f"the body must be JSON, but {error}") from error
    given = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(given, dict):
        raise Refused(422, f'the body must be {{"inputs": {{name: lists}}}}; {SEE}')
    if set(given) != set(inputs):
        needed, found = ", ".join(sorted(inputs)), ", ".join(sorted(given)) or "none"
        raise Refused(422, f"the inputs must be {needed}, but are {found}; {SEE}")
    arrays = {name: array_of(name, given[name], rule) for name, rule in inputs.items()}
    _check_shapes(arrays, inputs)
    return arrays


def _no_constant(name: str) -> float:
    raise ValueError(f"it holds {name}")


def array_of(name: str, written: object, rule: Input) -> _Array:
    """Convert the lists of one input to an array.

    Raises:
        Refused: If size (status 413), shape, type or range (status 422) is wrong.
    """
    try:
        array = np.array(written)
    except ValueError as error:
        raise Refused(422, f"inputs.{name}: lists must be equally long: {error}") from error
    if array.size > rule.most:
        raise Refused(413, f"inputs.{name}: {array.size:,} numbers; {rule.most:,} are the most")
    if array.ndim != len(rule.shape) or not array.size:
        shape = _shown(rule.shape)
        raise Refused(422, f"inputs.{name}: shape {shape} is needed, but got {array.shape}")
    if array.dtype.kind not in KINDS[rule.dtype.kind]:
        wanted = KIND_NAMES[rule.dtype.kind]
        raise Refused(422, f"inputs.{name}: {wanted} ({rule.dtype}) are needed in its lists")
    with np.errstate(over="ignore"):
        cast = array.astype(rule.dtype)
    fits = np.isfinite(cast).all() if rule.dtype.kind == "f" else (cast == array).all()
    if not fits:
        raise Refused(422, f"inputs.{name}: a number is too large for {rule.dtype}")
    return cast


def _check_shapes(arrays: Mapping[str, _Array], inputs: Mapping[str, Input]) -> None:
    """Check that fixed sizes match and that sizes of the same name are equal in all inputs."""
    sizes: dict[str | int, tuple[int, str]] = {}
    for name, rule in inputs.items():
        for wanted, size in zip(rule.shape, arrays[name].shape, strict=True):
            known, where = sizes.setdefault(wanted, (size, name))
            known = wanted if isinstance(wanted, int) else known
            if size != known:
                also = f" ({wanted} is {known} in {where})" if isinstance(wanted, str) else ""
                shown = _shown(rule.shape)
                got = arrays[name].shape
                raise Refused(422, f"inputs.{name}: shape {shown} is needed, but got {got}{also}")


def _shown(shape: Sequence[str | int]) -> str:
    return f"({', '.join(map(str, shape))})"


class ServedModel:
    """The model on one dedicated thread: it was measured so, and runtimes share threads badly.

    Args:
        load: Opens the model.
        run: Runs the model.
        inputs: Rules of its inputs.
        waiting: Maximum number of queued requests.
    """

    def __init__(
        self,
        load: Callable[[], object],
        run: Callable[[object, Mapping[str, _Array]], Sequence[_Array]],
        inputs: Mapping[str, Input],
        waiting: int,
    ) -> None:
        self.inputs = inputs
        self.answered = 0
        self._run = run
        self._most = waiting + 1
        self.queued = 0
        self._parser = ThreadPoolExecutor(max_workers=1)  # large bodies do not hold up the model
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._model = self._thread.submit(load).result()

    def check_room(self) -> None:
        """Check that another request can wait.

        Raises:
            Refused: With status 503, if the queue is full.
        """
        if self.queued >= self._most:
            raise Refused(503, "too many requests are waiting; try again later")

    async def answer(self, body: bytes) -> bytes:
        """Return the response to a request's body.

        Raises:
            Refused: If the request is invalid, can't be run, or the queue is full (status 503).
        """
        self.check_room()
        self.queued += 1
        try:
            loop = asyncio.get_running_loop()
            arrays = await loop.run_in_executor(self._parser, arrays_of, body, self.inputs)
            return await loop.run_in_executor(self._thread, self._answer, arrays)
        finally:
            self.queued -= 1

    def _answer(self, arrays: Mapping[str, _Array]) -> bytes:
        try:
            outputs = self._run(self._model, arrays)
        except MemoryError as error:
            raise Refused(413, "there is not enough memory for a request of this size") from error
        except Exception as error:  # runtimes raise many types; all mean: invalid values
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Refused(422, f"the model does not take these values: {first[:300]}") from error
        try:
            answer = json.dumps({"outputs": [o.tolist() for o in outputs]}, allow_nan=False)
        except ValueError as error:
            raise Refused(500, "the model's outputs are not finite for these values") from error
        self.answered += 1
        return answer.encode()


def application(
    served: ServedModel, about: Mapping[str, object], most_bytes: int, receive_s: float = 30.0
) -> FastAPI:
    """Return the application with the routes /health and /predict.

    Args:
        served: The model.
        about: What /health reports about it.
        most_bytes: Maximum size of a body.
        receive_s: Time in which a body must arrive, s.
    """
    app = FastAPI(title="exported model", docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, object]:
        inputs = {name: rule.words() for name, rule in served.inputs.items()}
        counts = {"answered": served.answered, "queued": served.queued}
        return {"status": "ok", **about, "inputs": inputs, **counts}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        try:
            served.check_room()
            answer = await served.answer(await read_body(request, most_bytes, receive_s))
        except Refused as refused:
            return refusal(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # no client receives it
        return Response(answer, media_type="application/json")

    return app


def refusal(refused: Refused) -> Response:
    """Return the response to a rejected request; after a timeout the connection is closed."""
    headers = {"connection": "close"} if refused.status == 408 else {}
    detail = json.dumps({"detail": str(refused)})
    return Response(detail, refused.status, headers, media_type="application/json")


async def read_body(request: Request, most_bytes: int, receive_s: float) -> bytes:
    """Return the body; stop reading as soon as it is known to be too large or too slow.

    Raises:
        Refused: If the content type is not JSON (status 415), or the body is too large (413) or
            too slow (408).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "the content type must be application/json")
    if int(request.headers.get("content-length", "0")) > most_bytes:
        raise await _too_large(request, most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(receive_s):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise await _too_large(request, most_bytes)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {receive_s:g} s") from error
    return bytes(body)


async def _too_large(request: Request, most_bytes: int) -> Refused:
    """Return the refusal of a body; first discard what is being sent, for at most `LINGER_S`.

    A connection that is closed while its client sends is reset, and the client reads no response.
    """
    if "expect" not in request.headers:  # a client that waits for leave sends nothing yet
        with suppress(TimeoutError, RuntimeError):  # RuntimeError: all of it has arrived
            async with asyncio.timeout(LINGER_S):
                async for _ in request.stream():
                    pass
    return Refused(413, f"the body is too large; {most_bytes:,} bytes are the most")


def body_limit(inputs: Mapping[str, Input], cap: int) -> int:
    """Return the maximum size of a body: room for the numbers of all inputs, at most `cap`."""
    numbers = sum(rule.most for rule in inputs.values())
    return min(cap, LEAST_BYTES + BYTES_A_NUMBER * numbers)


class HostCheck:
    """Refuses requests whose Host is no known name, as pages of other sites send.

    Args:
        app: The application.
        host: The address that the server listens on. An address in digits is known too if the
            server listens on all: no other site can have one as its name.
        names: More names.
    """

    def __init__(self, app: ASGIApp, host: str, names: Sequence[str] = ()) -> None:
        self._app = app
        self._all = host in ALL_ADDRESSES
        self._names = {"localhost", "127.0.0.1", "::1", host.lower(), *map(str.lower, names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, or respond with 421."""
        app = self._app
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not self.knows(hosts[0]):
                why = f"Host {', '.join(hosts)!r} is not served here; --allow-host NAME adds a name"
                app = refusal(Refused(421, why))
        await app(scope, receive, send)

    def knows(self, written: str) -> bool:
        """Return whether a Host, with or without a port, is known."""
        host, bracket, _ = written.removeprefix("[").partition("]")
        host = (host if bracket else written.partition(":")[0]).lower()
        return host in self._names or (self._all and _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def origin(folder: Path) -> dict[str, object]:
    """Return experiment, trial and creation time from the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    return {name: manifest.get(name) for name in ("experiment", "trial", "created")}


def module_in(folder: Path, name: str) -> ModuleType:
    """Return a script as a module, compiled from its source: bytecode in its folder is not read."""
    path = folder / f"{name}.py"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    exec(compile(path.read_bytes(), path, "exec"), vars(module))
    return module


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal arrives, or print the recorded request."""
    parser = server_options_parser("Serve the exported model over HTTP.")
    told = "how many times as large as the recorded request's an input may be"
    parser.add_argument("--most-times", type=int, default=64, help=told)
    parser.add_argument("--example", action="store_true", help="print the recorded request")
    chosen = parser.parse_args(arguments)
    if chosen.example:
        example = {name: array.tolist() for name, array in read_example(HERE).items()}
        print(json.dumps({"inputs": example}))
        return
    model, connections = module_in(HERE, "run"), module_in(HERE, "connections")
    inputs = read_inputs(HERE, chosen.most_times)
    served = ServedModel(model.load, model.run, inputs, chosen.waiting)
    limit = body_limit(inputs, int(chosen.most_mb * 2**20))
    app = application(served, origin(HERE), limit, chosen.receive_s)
    listen(app, chosen, connections.server_options(chosen.connections, chosen.receive_s))


def server_options_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options of all servers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: all machines")
    parser.add_argument("--port", type=int, default=8000)
    named = "a name in the Host of requests, besides --host and localhost; repeatable"
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=named)
    parser.add_argument("--most-mb", type=float, default=16, help="size of a body")
    parser.add_argument("--waiting", type=int, default=32, help="requests that may wait")
    parser.add_argument("--receive-s", type=float, default=30, help="time to send a request, s")
    parser.add_argument("--connections", type=int, default=256, help="open at once, at most")
    return parser


def listen(app: ASGIApp, chosen: argparse.Namespace, limits: Mapping[str, Any]) -> None:
    """Serve an application until a signal arrives; see `server_options` for the limits."""
    checked = HostCheck(app, chosen.host, chosen.allow_host)
    uvicorn.run(checked, host=chosen.host, port=chosen.port, server_header=False, **limits)


if __name__ == "__main__":
    main()
