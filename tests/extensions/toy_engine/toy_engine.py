"""A generation engine of a user: it counts on, token by token, in a process of its own.

The model is a table in a file: the token after `n` is `(n + step) % size`. The engine process reads
requests from a pipe, serves several at a time, one token each in turn, and writes every token as
soon as it is there.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    LoadSpec,
    TokenEvent,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.base import EnoughItems, GenerationWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import ChoiceKind, Configuration, EvaluationError, Extension, Metric

CONFIG, LAUNCH = "config.json", "launch.json"
SLOTS = ChoiceKind(
    name="slots",
    stage="execution",
    default=1,
    help="Requests that the engine serves at the same time.",
    numbers=(1, 2, 4),
    whole=True,
    short="s",
    changes_outputs=False,
)
ENGINE = Extension(
    name="counter",
    choices=(SLOTS,),
    values={"runtime": {"counter": "an engine that counts, in a process of its own"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32"}),
        "quantization_bits": frozenset({16}),
        "slots": None,
    },
    interfaces=frozenset({"generation"}),
    provides={"runtime": "toy_engine:CounterRuntime"},
)
TASK = Extension(
    name="counting",
    interfaces=frozenset({"generation"}),
    provides={"workload": "toy_engine:Counting"},
)


class Counting(GenerationWorkload):
    """Counting on from a number; quality is the share of right tokens."""

    task = "counting"
    metrics = (
        Metric(
            name="right_tokens",
            unit="",
            direction="maximize",
            summary="share of generated tokens that are right",
        ),
    )

    def __init__(self, spec: WorkloadSpec) -> None:
        self.spec = spec

    def checkpoint(self) -> Path:
        """Return the model's folder."""
        return Path(self.spec.folder, self.spec.model)

    def loads(self) -> Sequence[Load]:
        """Return the load levels of the experiment."""
        return (self.spec.load or LoadSpec()).loads()

    def requests(self, batch_size: int, count: int) -> list[GenerationRequest]:
        """Return prompts of one to three numbers."""
        load = self.spec.load or LoadSpec()
        return [
            GenerationRequest(
                prompt=tuple(range(n, n + 1 + n % 3)), new_tokens=load.output_tokens or 8
            )
            for n in range(count)
        ]

    def quality(
        self,
        run: GenerationEndpoint,
        reference: Mapping[str, Array] | None,
        enough: EnoughItems | None = None,
    ) -> Quality:
        """Compare with counting."""
        config = json.loads((self.checkpoint() / CONFIG).read_text())
        asked = self.requests(1, 6)
        items = []
        for request, response in zip(asked, generate(run, asked), strict=True):
            last = request.prompt[-1]
            right = [
                (last + n * config["step"]) % config["size"]
                for n in range(1, 1 + request.new_tokens)
            ]
            items.append(np.mean(np.array(response.tokens) == right))
        values = np.array(items, dtype=np.float64)
        return Quality(
            metrics={"right_tokens": mean_of(values)}, items=values, weights=np.ones(len(values))
        )

    def files(self) -> tuple[Path, ...]:
        """Return the model's folder."""
        return (self.checkpoint(),)


class CounterRuntime(Runtime):
    """Writes how the engine is launched, and launches it."""

    name = "counter"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Convert the checkpoint; the torch module is never loaded."""
        config = json.loads((source.checkpoint() / CONFIG).read_text())
        (folder / LAUNCH).write_text(json.dumps({"step": config["step"], "size": config["size"]}))
        return {}

    def open(self, built: Built, configuration: Configuration) -> GenerationEndpoint:
        """Launch the engine's process."""
        return CounterEndpoint(built.folder / LAUNCH, configuration.integer("slots"))

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs Python only."""
        return Deployment(script=_SCRIPT, requirements=())


class CounterEndpoint(GenerationEndpoint):
    """The engine's process and the pipes to it."""

    def __init__(self, launch: Path, slots: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(launch), str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._tokens = self._process.stdin, self._process.stdout
        os.set_blocking(self._tokens.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._tokens, selectors.EVENT_READ)
        self._rest, self._number = b"", 0

    def submit(self, request: GenerationRequest) -> int:
        """Write a request to the engine."""
        self._number += 1
        row = {"id": self._number, "last": request.prompt[-1], "count": request.new_tokens}
        self._requests.write(json.dumps(row).encode() + b"\n")
        self._requests.flush()
        return self._number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        """Read the lines that the engine has written."""
        if not self._selector.select(timeout_s):
            return ()
        read = self._tokens.read()
        if not read:
            raise EvaluationError("the engine has ended", cause="crash")
        now = time.perf_counter()
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [_event(json.loads(line), now) for line in lines]

    def cancel(self, request: int) -> None:
        """Do nothing: the engine's requests are short and end by themselves."""

    def facts(self) -> Facts:
        """Ask the engine what it is."""
        self._requests.write(b'{"facts": true}\n')
        self._requests.flush()
        self._selector.select(10)
        found: dict[str, Any] = json.loads(self._tokens.read() or b"{}")
        return {"runtime": "counter", "device": "cpu", "precision": "fp32", **found}

    def processes(self) -> Sequence[int]:
        """Return the engine's process."""
        return (self._process.pid,)

    def close(self) -> None:
        """End the engine by closing its input."""
        self._selector.close()
        self._requests.close()
        self._process.wait(timeout=10)
        self._tokens.close()


def _event(row: Mapping[str, Any], now: float) -> TokenEvent:
    return TokenEvent(request=row["id"], tokens=(row["token"],), arrival_s=now, end=row["end"])


def engine(launch: Path, slots: int) -> None:
    """Serve requests from stdin until it is closed; `slots` of them at a time."""
    model = json.loads(launch.read_text())
    waiting: deque[dict[str, Any]] = deque()
    running: list[dict[str, Any]] = []
    os.set_blocking(0, False)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    rest = b""
    while True:
        if selector.select(0 if running or waiting else None):
            read = os.read(0, 1 << 16)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for row in map(json.loads, lines):
                if "facts" in row:
                    print(json.dumps({"slots": slots, "threads": 1}), flush=True)
                else:
                    waiting.append(row)
        while waiting and len(running) < slots:
            running.append(waiting.popleft())
        for row in list(running):
            row["last"] = (row["last"] + model["step"]) % model["size"]
            row["count"] -= 1
            time.sleep(0.0005)
            end = row["count"] == 0
            print(json.dumps({"id": row["id"], "token": row["last"], "end": end}), flush=True)
            if end:
                running.remove(row)


_SCRIPT = '''\
"""Counts on from the recorded prompt. Needs Python only."""
import json
import pathlib

HERE = pathlib.Path(__file__).parent


def load():
    """The step and the number of tokens."""
    return json.loads((HERE / "launch.json").read_text())


def run(model, prompt, new_tokens):
    """Token ids in, token ids out."""
    tokens = []
    for _ in range(new_tokens):
        last = tokens[-1] if tokens else prompt[-1]
        tokens.append((last + model["step"]) % model["size"])
    return tokens
'''

if __name__ == "__main__":
    engine(Path(sys.argv[1]), int(sys.argv[2]))
