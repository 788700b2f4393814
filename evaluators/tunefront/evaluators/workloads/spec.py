"""A workload as plain data: what crosses process borders and becomes part of every key."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast, get_args

from tunefront.spaces import WorkloadError, did_you_mean
from tunefront.spaces.metric import Direction

from .base import Architecture, Task

TASKS: tuple[str, ...] = get_args(Task)
ARCHITECTURES: tuple[str, ...] = get_args(Architecture)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """What is optimized, as the experiment file names it.

    Attributes:
        task: The kind of work.
        model: A folder, an installed package that holds one, a hub id, or for `custom` a callable
            `package.module:function`.
        folder: Where relative paths and callables are looked up: the experiment's folder.
        data: The data file of the text and image tasks.
        calibration: A data file for ranges and importances; the data itself where None.
        revision: The commit of a hub model.
        trust_remote_code: Whether code that comes with the model may run.
        max_length: Longest text, in tokens.
        items: At most so many items decide quality; all of them where None.
        inputs: For `custom`: a callable (batch size, count) to requests.
        quality: For `custom`: a callable that judges a candidate.
        samples: For `custom`: a callable that says in words what a candidate answers; or None.
        metric: For `custom`: the name of what `quality` returns.
        direction: For `custom`: what is better.
        architecture: For `custom`: what kind of network the module is; `other` where None. The
            other tasks declare their own.
    """

    task: Task
    model: str
    folder: str
    data: str | None = None
    calibration: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    max_length: int = 256
    items: int | None = None
    inputs: str | None = None
    quality: str | None = None
    samples: str | None = None
    metric: str = "score"
    direction: Direction = "maximize"
    architecture: Architecture | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise WorkloadError(
                f"task: unknown value {self.task!r}{did_you_mean(self.task, TASKS)}"
            )
        if self.architecture is not None and self.architecture not in ARCHITECTURES:
            raise WorkloadError(
                f"architecture: unknown value {self.architecture!r}"
                f"{did_you_mean(self.architecture, ARCHITECTURES)}"
            )
        if self.architecture is not None and self.task != "custom":
            raise WorkloadError(
                f"architecture: only task custom declares it, but the task is {self.task}, which "
                "has its own; remove the key"
            )
        needed = ("inputs", "quality") if self.task == "custom" else ("data",)
        for name in needed:
            if getattr(self, name) is None:
                raise WorkloadError(f"workload: task {self.task} needs {name!r}, but it is missing")
        named = (self.model, self.inputs, self.quality, self.samples)
        callables = named if self.task == "custom" else ()
        for written in callables:
            if written is not None and written.count(":") != 1:
                raise WorkloadError(
                    f"workload: a callable is written package.module:function, but got {written!r}"
                )

    def path(self, written: str) -> Path:
        """A path from the file: relative ones start at the experiment's folder."""
        return Path(self.folder, Path(written).expanduser())

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> "WorkloadSpec":
        """The inverse of `to_dict`."""
        return cls(**cast(dict[str, str], dict(fields)))  # type: ignore[arg-type]
