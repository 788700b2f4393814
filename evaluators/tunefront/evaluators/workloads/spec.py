"""A workload as plain data: it is sent to other processes and is part of every artifact key."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import get_args

from tunefront.evaluators.interfaces.generation import LoadSpec, ServerSpec, check_slo
from tunefront.evaluators.interfaces.http import RequestTemplate
from tunefront.evaluators.interfaces.http.interface import HTTP_SLO
from tunefront.evaluators.interfaces.polled.server_spec import MODEL_FOLDER
from tunefront.spaces import WorkloadError, did_you_mean
from tunefront.spaces.metric import Direction

from .base import Architecture

ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
CUSTOM = "custom"
"""The task whose metric the experiment names."""
TEXT_GENERATION = "text-generation"
HTTP = "http"
SERVER_URL, SERVER_MODEL = "url", "model"
COMMAND_PLACEHOLDERS = (SERVER_URL, SERVER_MODEL)
"""Placeholders of a command that evaluates quality: the server's address, the model's name."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "causal-lm": ("data",),
    "text-generation": ("data",),
    "text-embedding": ("data",),
    "text-classification": ("data",),
    "image-classification": ("data",),
    CUSTOM: ("inputs", "quality"),
    HTTP: ("server", "request", "data"),
}
"""Keys that must be given, by task."""
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "causal-lm": ("text",),
    "text-generation": ("prompt", "answer"),
    "text-embedding": ("query", "document"),
    "text-classification": ("text", "label"),
    "image-classification": ("image", "label"),
    CUSTOM: (),
}
"""Columns of the data, by task."""
ANSWER = "answer"
"""Column of the right answer, which a row can have."""
_FUNCTIONS = ("inputs", "quality", "samples")
"""Keys that name Python functions."""
_USED_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    CUSTOM: _FUNCTIONS,
    TEXT_GENERATION: ("quality",),
    HTTP: ("quality",),
}
"""Those that a task uses; tasks of extensions can use all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """The workload section of an experiment file.

    Attributes:
        task: The task: the name of an extension that provides a workload.
        model: A folder, an installed package that contains one, a hub id, or for `custom` a
            callable `package.module:function`; empty for `http` if the server needs none.
        folder: Base of relative paths and callables: the experiment's folder.
        data: Data file of the text and image tasks.
        columns: Name of a column in the data files where it differs from the task's.
        calibration: Data file for quantization ranges and pruning importances; `data` if None.
        revision: Commit of a hub model.
        trust_remote_code: Whether code that comes with the model is allowed to run.
        max_length: Maximum length of a text, in tokens.
        items: Maximum number of items that quality is evaluated on; all if None.
        inputs: For `custom`: a callable (batch size, count) that returns requests.
        quality: For `custom`, `text-generation` and `http`: a callable that evaluates a candidate.
        quality_command: For `text-generation`: a command that does, over an HTTP server; not with
            `quality`.
        output: For `custom`: name or index of the output to measure, of a module with several.
        samples: For `custom`: a callable that returns example outputs of a candidate, or None.
        metric: Name of the metric that the callable or the command returns.
        direction: Direction of that metric.
        architecture: For `custom`: kind of network of the module; `other` if None. Other tasks
            declare their own.
        load: For tasks that generate text, and `http`: when requests arrive and how long they are;
            one at a time if None.
        slo: For these tasks: limits that a request must keep, in ms by metric.
        server: For `text-generation` and `http`: the server; None if a runtime generates.
        request: For `http`: the template of requests.
        response: For `http`: path of the value in the response; the whole response if empty.
        extensions: Absolute paths of Python files with extensions that the experiment names.
        declared: Choices that the experiment declares, as written: values, stage and so on.
    """

    task: str
    model: str = ""
    folder: str
    data: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    calibration: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    max_length: int = 256
    items: int | None = None
    inputs: str | None = None
    quality: str | None = None
    quality_command: str | None = None
    output: str | int | None = None
    samples: str | None = None
    metric: str = "score"
    direction: Direction = "maximize"
    architecture: Architecture | None = None
    load: LoadSpec | None = None
    slo: Mapping[str, float] = field(default_factory=dict)
    server: ServerSpec | None = None
    request: RequestTemplate | None = None
    response: str = ""
    extensions: tuple[str, ...] = ()
    declared: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture is not None and self.architecture not in ARCHITECTURES:
            raise WorkloadError(
                f"architecture: unknown value {self.architecture!r}"
                f"{did_you_mean(self.architecture, ARCHITECTURES)}"
            )
        if self.architecture is not None and self.task != CUSTOM:
            raise WorkloadError(
                f"architecture: only task custom declares it, but the task is {self.task}, which "
                "has its own; remove the key"
            )
        check_slo(self.slo)
        for name in _NEEDED.get(self.task, ()):
            if getattr(self, name) is None:
                raise WorkloadError(f"workload: task {self.task} needs {name!r}, but it is missing")
        self._check_request()
        known = self._known_columns
        for name in self.columns:
            if name not in known:
                raise WorkloadError(
                    f"columns: task {self.task} has {', '.join(known) or 'none'}, but got {name!r}"
                    f"{did_you_mean(name, known)}"
                )
        if self.output is not None and self.task != CUSTOM:
            raise WorkloadError(
                f"output: only task {CUSTOM} chooses among outputs, but the task is {self.task}; "
                "remove the key"
            )
        self._check_functions()
        if self.quality_command is not None:
            self._check_command(self.quality_command)

    @property
    def _known_columns(self) -> tuple[str, ...]:
        """The columns of the data; of tasks of extensions any."""
        if self.task == HTTP and self.request is not None:
            return (*self.request.columns, ANSWER)
        return _COLUMNS.get(self.task, tuple(self.columns))

    def _check_request(self) -> None:
        """Refuse a request of another task, and keys that a service over HTTP has no use for."""
        if self.task != HTTP:
            for name in ("request", "response"):
                if getattr(self, name) and self.task in _NEEDED:
                    raise WorkloadError(
                        f"{name}: only task {HTTP} has it, but the task is {self.task}; remove "
                        "the key"
                    )
            return
        for name in ("input_tokens", "output_tokens", "shared_prefix"):
            if self.load is not None and getattr(self.load, name) is not None:
                raise WorkloadError(
                    f"load.{name}: requests of task {HTTP} have no tokens, their length is that of "
                    "the rows of data; remove the key"
                )
        for name in self.slo:
            if name not in HTTP_SLO:
                raise WorkloadError(
                    f"slo: responses of task {HTTP} have no tokens, and so no {name}; write "
                    f"{{{HTTP_SLO[0]}: 200}}"
                )
        self._check_model()

    def _check_model(self) -> None:
        """Refuse a model without a placeholder in the server's command, and the reverse."""
        placed = self.server is not None and MODEL_FOLDER in self.server.placeholders
        if self.model and not placed:
            raise WorkloadError(
                f"model: {self.model} would have no effect, because server.command has no "
                f"placeholder {{{MODEL_FOLDER}}}; add it, or remove the key"
            )
        if placed and not self.model:
            raise WorkloadError(
                f"server.command: the placeholder {{{MODEL_FOLDER}}} is the folder of the model, "
                "but the key workload.model is missing; add it"
            )

    @property
    def title(self) -> str:
        """The task with its model, or without one the request that is sent."""
        if self.request is not None and not self.model:
            return f"{self.task}, {self.request.method} {self.request.path}"
        return f"{self.task}, model {self.model}"

    @property
    def own_quality(self) -> str | None:
        """The callable or command that evaluates a candidate; None if the task does."""
        return self.quality if self.quality_command is None else self.quality_command

    def _check_command(self, written: str) -> None:
        """Refuse a command of another task, and one that does not have the server's address."""
        if self.task != TEXT_GENERATION:
            raise WorkloadError(
                f"quality.command: only task {TEXT_GENERATION} has it, but the task is "
                f"{self.task}; remove the key"
            )
        try:
            words = shlex.split(written)
            named = {name for word in words for _, name, *_ in Formatter().parse(word) if name}
        except ValueError as error:
            raise WorkloadError(
                f"quality.command: {written!r} can't be split into words with placeholders: "
                f"{error}; quote it as in a shell, and write a brace twice"
            ) from error
        if unknown := sorted(named - set(COMMAND_PLACEHOLDERS)):
            raise WorkloadError(
                f"quality.command: unknown placeholder {{{unknown[0]}}}"
                f"{did_you_mean(unknown[0], COMMAND_PLACEHOLDERS)}"
            )
        if SERVER_URL not in named:
            raise WorkloadError(
                f"quality.command: {{{SERVER_URL}}}, the address of the server, is missing in "
                f"{written!r}; add it, as in `python eval.py --base-url {{{SERVER_URL}}}`"
            )

    def _check_functions(self) -> None:
        """Refuse functions that the task does not use, and names that are none."""
        used = _USED_FUNCTIONS.get(self.task, () if self.task in _NEEDED else _FUNCTIONS)
        for key in _FUNCTIONS:
            if getattr(self, key) is not None and key not in used:
                raise WorkloadError(
                    f"{key}: task {self.task} evaluates itself and has no use for a function; "
                    "remove the key"
                )
        named = [self.model] if self.task == CUSTOM else []
        named += [written for key in used if (written := getattr(self, key)) is not None]
        for written in named:
            if written.count(":") != 1:
                raise WorkloadError(
                    f"workload: a callable is written package.module:function, but got {written!r}"
                )

    def path(self, written: str) -> Path:
        """Resolve a path; a relative path starts at the experiment's folder."""
        return Path(self.folder, Path(written).expanduser())
