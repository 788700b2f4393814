"""The task that checks a workload's model and data."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators.pipelines.workload import AnyWorkload, build_workload
from tunefront.evaluators.store.digest import digest_of
from tunefront.evaluators.store.store import fingerprint_of
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.evaluators.workloads.files_read import files_read
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, TunefrontError, WorkloadError

from .model_stage import calibration_of, use_own_cores

if TYPE_CHECKING:
    import torch

    from tunefront.evaluators.interfaces.tensors import Inputs
    from tunefront.evaluators.statistics.arrays import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """The workload to describe, with a complete configuration."""

    workload: WorkloadSpec
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDescription:
    """Properties of a workload's model and data.

    Attributes:
        fingerprint: Hash of all that model, requests and quality depend on.
        parameters: Number of parameters of the module; 0 if unknown or without a torch module.
        module: Name of the module's class; empty if unknown.
    """

    fingerprint: str
    parameters: int = 0
    module: str = ""


def describe(request: DescribeRequest) -> WorkloadDescription:
    """Check that model and data can be used; return the workload's fingerprint and size.

    The module runs one request and, for `Workload.check_s`, the quality evaluation.
    """
    spec = request.workload
    use_own_cores()
    with files_read(Path(spec.folder)) as read:
        workload = build_workload(spec, request.configuration)
        module = workload.load_module() if isinstance(workload, TensorWorkload) else None
        requests = workload.requests(2, 1)
        if module is not None and isinstance(workload, TensorWorkload):
            _check_runs(workload, module, requests)
        files = [*workload.files()]
        if spec.calibration is not None:
            files += calibration_of(spec, request.configuration).files()
            calibration_of(spec, request.configuration).requests(2, 1)
    parts = [fingerprint_of(tuple(files))]
    if not workload.files_are_complete:
        _check_repeatable(workload, module, requests)
        parts += [*_digests_of(read, Path(spec.folder)), digest_of(requests)]
        parts += [] if module is None else [_module_digest(module)]
    return WorkloadDescription(
        fingerprint=digest_of(parts),
        parameters=0 if module is None else sum(p.numel() for p in module.parameters()),
        module="" if module is None else type(module).__name__,
    )


class _CheckedEnough(BaseException):
    """The time for the check of the quality evaluation is over."""


def _check_runs(
    workload: TensorWorkload, module: "torch.nn.Module", requests: "list[Inputs]"
) -> None:
    """Run one request, and the quality evaluation for `check_s` seconds, at least one request.

    Raises:
        WorkloadError: If either fails.
    """
    from tunefront.evaluators.interfaces.torch_tensors import run_of

    plain = run_of(module)
    _checked("model", lambda: plain(requests[0]))
    deadline = time.monotonic() + workload.check_s
    calls = 0

    def run(inputs: "Inputs") -> "list[Array]":
        nonlocal calls
        if calls and time.monotonic() >= deadline:
            raise _CheckedEnough
        calls += 1
        return plain(inputs)

    with suppress(_CheckedEnough):
        _checked("quality", lambda: workload.quality(run, None, lambda items, weights: True))


def _checked(key: str, call: Callable[[], object]) -> None:
    try:
        call()
    except TunefrontError:
        raise
    except Exception as error:  # a user's code can raise anything
        raise WorkloadError(
            f"{key}: the unchanged model can't be run: {type(error).__name__}: {error}"
        ) from error


def _check_repeatable(
    workload: AnyWorkload, module: "torch.nn.Module | None", requests: Iterable[object]
) -> None:
    """Raise WorkloadError if a second call returns other weights or requests."""
    if module is not None and _module_digest(workload.load_module()) != _module_digest(module):
        raise WorkloadError(
            "model: the weights differ from one call to the next, but every process loads the "
            "model anew; seed them with torch.manual_seed, or load them from a file"
        )
    if digest_of(workload.requests(2, 1)) != digest_of(requests):
        raise WorkloadError(
            "inputs: the requests differ from one call to the next, but all candidates are "
            "measured with the same ones; use a fixed seed, e.g. numpy.random.default_rng(0)"
        )


def _digests_of(paths: Iterable[Path], folder: Path) -> list[str]:
    """Return name and content hash of files, by their place below a folder."""
    root = folder.resolve()
    return [f"{path.relative_to(root)} {fingerprint_of((path,))}" for path in sorted(paths)]


def _module_digest(module: "torch.nn.Module") -> str:
    """Return a hash of a module's classes, parameters and buffers."""
    classes = sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in module.modules()})
    tensors = {
        name: _plain_array(tensor)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    return digest_of([classes, tensors])


def _plain_array(tensor: "torch.Tensor") -> "Array":
    """Return the bytes of a tensor of any dtype as an array."""
    import torch

    found: Array = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return found
