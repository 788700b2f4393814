"""A workload as plain data: it is sent to other processes and is part of every artifact key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from tunefront.evaluators.interfaces.generation import LoadSpec, check_slo
from tunefront.spaces import WorkloadError, did_you_mean
from tunefront.spaces.metric import Direction

from .base import Architecture

ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
CUSTOM = "custom"
"""The task whose metric the experiment names."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "causal-lm": ("data",),
    "text-generation": ("data",),
    "text-embedding": ("data",),
    "text-classification": ("data",),
    "image-classification": ("data",),
    CUSTOM: ("inputs", "quality"),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """The workload section of an experiment file.

    Attributes:
        task: The task: the name of an extension that provides a workload.
        model: A folder, an installed package that contains one, a hub id, or for `custom` a
            callable `package.module:function`.
        folder: Base of relative paths and callables: the experiment's folder.
        data: Data file of the text and image tasks.
        columns: Name of a column in the data files where it differs from the task's.
        calibration: Data file for quantization ranges and pruning importances; `data` if None.
        revision: Commit of a hub model.
        trust_remote_code: Whether code that comes with the model is allowed to run.
        max_length: Maximum length of a text, in tokens.
        items: Maximum number of items that quality is evaluated on; all if None.
        inputs: For `custom`: a callable (batch size, count) that returns requests.
        quality: For `custom`: a callable that evaluates a candidate.
        output: For `custom`: name or index of the output to measure, of a module with several.
        samples: For `custom`: a callable that returns example outputs of a candidate, or None.
        metric: For `custom`: name of the metric that `quality` returns.
        direction: For `custom`: direction of that metric.
        architecture: For `custom`: kind of network of the module; `other` if None. Other tasks
            declare their own.
        load: For tasks that generate text: when requests arrive and how long they are; one at a
            time if None.
        slo: For these tasks: limits that a request must keep, in ms by metric.
        extensions: Absolute paths of Python files with extensions that the experiment names.
        declared: Choices that the experiment declares, as written: values, stage and so on.
    """

    task: str
    model: str
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
    output: str | int | None = None
    samples: str | None = None
    metric: str = "score"
    direction: Direction = "maximize"
    architecture: Architecture | None = None
    load: LoadSpec | None = None
    slo: Mapping[str, float] = field(default_factory=dict)
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
        known = _COLUMNS.get(self.task, tuple(self.columns))
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
        named = (self.model, self.inputs, self.quality, self.samples)
        callables = named if self.task == CUSTOM else ()
        for written in callables:
            if written is not None and written.count(":") != 1:
                raise WorkloadError(
                    f"workload: a callable is written package.module:function, but got {written!r}"
                )

    def path(self, written: str) -> Path:
        """Resolve a path; a relative path starts at the experiment's folder."""
        return Path(self.folder, Path(written).expanduser())
