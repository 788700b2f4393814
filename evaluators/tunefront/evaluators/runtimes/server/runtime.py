"""The engine `server`: a candidate is how the server is started, the model, and its tokenizer.

The interface `http` has no tokens, and so no tokenizer.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import ServerSpec
from tunefront.evaluators.interfaces.http import Http
from tunefront.evaluators.interfaces.polled.server_spec import FOLDER, MODEL_FOLDER, PORT
from tunefront.evaluators.isolation.child.environment import COMPILE_THREADS
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.measures.processes import started_with
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.spaces import Configuration, EvaluationError, Value

from .endpoint import OpenServer, ServerEndpoint
from .extension import NAME
from .http_endpoint import HttpServer
from .process import LOOPBACK, ServerProcess, free_port
from .protocol import Tokenizer
from .script import SERVE, http_run_script, run_script, serve_script

SERVER_SETTING = "server"
"""Setting of a build: how the server is started and called."""
OVER_HTTP = "over_http"
"""Setting of a build: whether the interface is `http`; it generates text without this setting."""
TOKENIZER = "tokenizer"
"""Folder of the tokenizer in a candidate; the model is in `MODEL_FOLDER`."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_OF_TRIALS = frozenset({COMPILE_THREADS, "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM"})
"""Variables that limit the threads of a trial's own processes, which the server must not have."""


class Server(Runtime):
    """A command that starts a server, or the address of a running one.

    It has the OpenAI-compatible interface, or any other over HTTP for the interface `http`.
    """

    name = NAME

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Write the tokenizer, and links to the model's files if the command names the model.

        Raises:
            EvaluationError: If the workload has no server, or generates text without a tokenizer
                (cause "unsupported").
        """
        spec = source.server
        if spec is None:
            raise EvaluationError(
                "runtime server needs the key workload.server, but the workload has none",
                cause="unsupported",
            )
        over_http = source.interface == Http.name
        if not over_http:
            _write_tokenizer(source.checkpoint(), folder / TOKENIZER)
        if MODEL_FOLDER in spec.placeholders:
            _link_files(source.checkpoint(), folder / MODEL_FOLDER)
        return {SERVER_SETTING: to_plain(spec), **({OVER_HTTP: True} if over_http else {})}

    def open(self, built: Built, configuration: Configuration) -> OpenServer:
        """Start the server and wait until it is ready.

        Raises:
            EvaluationError: If it does not become ready, see `ServerProcess`, or does not answer
                in the interface.
        """
        spec = _spec_of(built)
        if spec.url:
            return _endpoint(built, spec.url, None, {"runtime": NAME})
        port = free_port()
        values = {
            **_values(spec, configuration),
            PORT: port,
            MODEL_FOLDER: str(built.folder.resolve() / MODEL_FOLDER),
            FOLDER: spec.folder,
        }
        allowed = sorted(os.sched_getaffinity(0))
        cores = allowed[: configuration.integer("threads")]
        process = ServerProcess(spec.filled(values), port, cores, _environment(configuration))
        try:
            process.wait_until_ready(spec.ready, spec.start_s)
            facts = _facts(process, spec, values)
        except BaseException:
            process.close()
            raise
        return _endpoint(built, f"http://{LOOPBACK}:{port}", process, facts)

    def deployment(self, built: Built, configuration: Configuration) -> Deployment | None:
        """Return a script that starts the server and calls it, and one that only starts it.

        None for a server that runs elsewhere.
        """
        spec = _spec_of(built)
        if spec.url:
            return None
        words = spec.filled({**_values(spec, configuration), FOLDER: spec.folder})
        on_cpu = configuration["device"] == "cpu"
        over_http = OVER_HTTP in built.settings
        script = http_run_script if over_http else run_script
        return Deployment(
            script=script(spec, words, configuration.integer("threads"), on_cpu=on_cpu),
            requirements=() if over_http else ("transformers",),
            not_served=f"`sh {SERVE} PORT` starts the measured server itself",
            program=words[0],
            files={SERVE: serve_script(words, on_cpu=on_cpu)},
        )


def flags_not_applied(
    configuration: Configuration, facts: Facts, record: CandidateRecord
) -> str | None:
    """Return a message if the choices of a command are not in the server's command line."""
    if record.runtime != NAME:
        return None
    spec = from_plain(ServerSpec, record.settings[SERVER_SETTING])
    for name in spec.chosen:
        if facts.get(name) != configuration[name]:
            return (
                f"{name}: {configuration[name]} requested, but the process that listens has it "
                "neither in its command line nor in its environment; let server.command start the "
                "server itself"
            )
    return None


def _spec_of(built: Built) -> ServerSpec:
    return from_plain(ServerSpec, built.settings[SERVER_SETTING])


def _endpoint(built: Built, url: str, process: ServerProcess | None, facts: Facts) -> OpenServer:
    """Return the endpoint of a server that is ready."""
    spec = _spec_of(built)
    if OVER_HTTP in built.settings:
        return HttpServer(url, spec, process, facts)
    return ServerEndpoint(url, spec, Tokenizer(built.folder / TOKENIZER), process, facts)


def _link_files(checkpoint: Path, folder: Path) -> None:
    """Fill a folder with links to all files of the model."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            link = folder / path.relative_to(checkpoint)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


def _values(spec: ServerSpec, configuration: Configuration) -> dict[str, Value]:
    return {name: configuration[name] for name in spec.chosen}


def _environment(configuration: Configuration) -> dict[str, str]:
    """Return the server's environment: that of this process, without GPUs on the device `cpu`."""
    found = {name: value for name, value in os.environ.items() if name not in _OF_TRIALS}
    return {**found, _VISIBLE: ""} if configuration["device"] == "cpu" else found


def _facts(process: ServerProcess, spec: ServerSpec, values: Mapping[str, Value]) -> Facts:
    """Return what is read from the running process, with the choices of the command it has."""
    found: dict[str, Value] = {}
    for listener in process.listeners():
        found |= {name: values[name] for name in _applied(listener, spec, values)}
    return {
        **found,
        "runtime": NAME,
        "device": "cpu" if started_with(process.pid, _VISIBLE) == "" else "cuda",
        "threads": process.cores(),
    }


def _applied(
    process: psutil.Process, spec: ServerSpec, values: Mapping[str, Value]
) -> Iterator[str]:
    """Yield the choices whose words a process has in its command line or its environment.

    Those of the command line are the words that both have at the end: at the beginning, programs
    such as `env` and interpreters take words away or add some.
    """
    rendered = spec.rendered(values)
    words = [word for word, _ in rendered if word]
    try:
        pairs = zip(reversed(words), reversed(process.cmdline()), strict=False)
    except psutil.Error:  # it has ended
        return
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    place, missing = 0, set[str]()
    for word, names in rendered:
        place += bool(word)
        if word and place <= len(words) - common and not _in_environment(process.pid, word):
            missing |= set(names)
    yield from (name for name in spec.chosen if name not in missing)


def _in_environment(pid: int, word: str) -> bool:
    name, equals, value = word.partition("=")
    return bool(equals) and started_with(pid, name) == value


def _write_tokenizer(checkpoint: Path, folder: Path) -> None:
    """Save the tokenizer of a checkpoint.

    Raises:
        EvaluationError: If it can't be loaded (cause "unsupported").
    """
    from transformers import AutoTokenizer

    auto: Any = AutoTokenizer
    try:
        auto.from_pretrained(checkpoint, local_files_only=True).save_pretrained(folder)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EvaluationError(f"the model's tokenizer: {error}", cause="unsupported") from error
