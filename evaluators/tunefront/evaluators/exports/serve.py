"""HTTP server for the exported model in this folder.

python serve.py --host 127.0.0.1 --port 8000
python serve.py --example > request.json     the recorded request

GET  /health     describes the model and its inputs
POST /predict    {"inputs": {"NAME": [nested lists]}} returns {"outputs": [nested lists]}

Requires fastapi, uvicorn and the requirements of run.py, which opens the model. It has no
tokenizer, authentication or encryption: put it behind a service that has them.

This file is copied into exports unchanged, so it imports nothing from tunefront.
"""

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

HERE = Path(__file__).parent
_Array = npt.NDArray[Any]
KINDS = {"i": "iu", "u": "iu", "f": "iuf", "b": "b"}
"""Array kinds that numbers in JSON can have, by the kind of the input (numpy's `dtype.kind`)."""
KIND_NAMES = {"i": "whole numbers", "u": "whole numbers", "f": "numbers", "b": "true and false"}
SEE = "GET /health lists the inputs"


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
        self._left = waiting + 1
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._model = self._thread.submit(load).result()

    async def answer(self, body: bytes) -> bytes:
        """Return the response to a request's body.

        Raises:
            Refused: If the request is invalid, can't be run, or the queue is full (status 503).
        """
        if not self._left:
            raise Refused(503, "too many requests are waiting; try again later")
        self._left -= 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._answer, body)
        finally:
            self._left += 1

    def _answer(self, body: bytes) -> bytes:
        arrays = arrays_of(body, self.inputs)
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


def application(served: ServedModel, about: Mapping[str, object], most_bytes: int) -> FastAPI:
    """Return the application with the routes /health and /predict."""
    app = FastAPI(title="exported model", docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, object]:
        inputs = {name: rule.words() for name, rule in served.inputs.items()}
        return {"status": "ok", **about, "inputs": inputs, "answered": served.answered}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        try:
            answer = await served.answer(await _body(request, most_bytes))
        except Refused as refused:
            told = json.dumps({"detail": str(refused)})
            return Response(told, refused.status, media_type="application/json")
        return Response(answer, media_type="application/json")

    return app


async def _body(request: Request, most_bytes: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise Refused(413, f"the body is too large; {most_bytes:,} bytes are the most")
    return bytes(body)


def _about(folder: Path) -> dict[str, object]:
    """Return experiment, trial and creation time from the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    return {name: manifest.get(name) for name in ("experiment", "trial", "created")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal arrives, or print the recorded request."""
    parser = argparse.ArgumentParser(description="Serve the exported model over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: all machines")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--most-mb", type=float, default=16, help="size of a body")
    told = "how many times as large as the recorded request's an input may be"
    parser.add_argument("--most-times", type=int, default=64, help=told)
    parser.add_argument("--waiting", type=int, default=32, help="requests that may wait")
    parser.add_argument("--example", action="store_true", help="print the recorded request")
    chosen = parser.parse_args(arguments)
    if chosen.example:
        example = {name: array.tolist() for name, array in read_example(HERE).items()}
        print(json.dumps({"inputs": example}))
        return
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(HERE))
    model = importlib.import_module("run")
    inputs = read_inputs(HERE, chosen.most_times)
    served = ServedModel(model.load, model.run, inputs, chosen.waiting)
    app = application(served, _about(HERE), int(chosen.most_mb * 2**20))
    uvicorn.run(app, host=chosen.host, port=chosen.port, server_header=False)


if __name__ == "__main__":
    main()
