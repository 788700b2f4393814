"""The cause of a failure, read from the error and from what libraries write about it.

Libraries report a lack of memory, a broken GPU and a crashed kernel by texts only, each by its own.
They are all in one table here, for the CPU and for GPUs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from tunefront.spaces import EvaluationError, FailureCause, WorkloadError, text_of

LOG_END_LINES = 20
"""Lines of the log that are searched for the reason of an error that does not name it."""
LOG_END_BYTES = 64 * 2**10

_OUT_OF_MEMORY = (
    "out of memory",  # torch on CUDA, the CUDA runtime, ONNX Runtime, NCCL, g++
    "out_of_memory",  # CUDA_ERROR_OUT_OF_MEMORY of the driver
    "cudaerrormemoryallocation",
    "can't allocate",  # torch on the CPU
    "cannot allocate memory",  # the system
    "virtual memory exhausted",  # g++
    "std::bad_alloc",
    "bad allocation",
    "failed to allocate memory",  # ONNX Runtime
    "cublas_status_alloc_failed",
    "cublas_status_not_initialized",  # the first product finds no memory for a workspace
    "cudnn_status_alloc_failed",
    "cudnn_status_internal_error_device_allocation_failed",
    "cudnn_status_internal_error_host_allocation_failed",
    "cusolver_status_alloc_failed",
    "cusparse_status_alloc_failed",
    "cufft_alloc_failed",
)
_DEVICE = (
    "busy or unavailable",  # an exclusive compute mode, or another user of the device
    "no cuda gpus",
    "no cuda-capable device",
    "found no nvidia driver",
    "nvidia driver on your system is too old",
    "cuda driver version is insufficient",
    "cuda driver initialization failed",
    "unsupported display driver",
    "torch not compiled with cuda",
    "re-initialize cuda in forked",  # the process was forked from one that had called CUDA
    "invalid device ordinal",
    "system not yet initialized",  # the fabric manager of NVSwitch does not run
    "uncorrectable ecc",
    "uncorrectable nvlink",
    "hardware stack error",
    "gpu is lost",
    "fallen off the bus",
    "cuda error: unknown error",
    "mps client failed to connect",
    "mps server",
    "cudnn_status_not_initialized",
)
_CRASH = (
    "illegal memory access",
    "illegal instruction was encountered",
    "misaligned address",
    "unspecified launch failure",
    "device-side assert",
)
_UNSUPPORTED = (
    "no kernel image is available",
    "needs to be greater than 16",  # rows of an int8 product on CUDA
)
FAILURE_TEXTS: tuple[tuple[FailureCause, tuple[str, ...]], ...] = (
    ("oom", _OUT_OF_MEMORY),
    ("device", _DEVICE),
    ("crash", _CRASH),
    ("unsupported", _UNSUPPORTED),
)
"""Texts of errors in lower case, by the cause of failure; the first cause with a match counts.

`crash` is a kernel that broke off on a GPU, as a segmentation fault is on the CPU: it can be the
fault of the kernel or of the device.
"""
VAGUE_TEXTS = ("api call failed",)
"""Texts of errors that name no reason; AOTInductor writes the reason to the log."""
EXPLAINED_CAUSES: frozenset[FailureCause] = frozenset({"exception", "unsupported"})
"""Causes of Tunefront's own errors that the text of a library can replace.

A build that finds no memory reports that it can't be compiled.
"""


def failure_kind(error: BaseException, log_end: Callable[[], str] = lambda: "") -> str:
    """Return the failure cause of an error; `workload` if the user's model or data is at fault.

    Args:
        error: The error; the errors that led to it count, too.
        log_end: Returns the end of the log, for errors that do not name their reason.
    """
    from tunefront.evaluators.store.disk import is_full

    if is_full(error):
        return "disk full"
    if isinstance(error, WorkloadError):
        return "workload"
    own = error.cause if isinstance(error, EvaluationError) else "exception"
    if own not in EXPLAINED_CAUSES:
        return own
    texts = [text_of(one) for one in _chain(error)]
    if any(isinstance(one, MemoryError) for one in _chain(error)):
        return "oom"
    found = cause_of_text("\n".join(texts))
    if found is None and any(vague in text.lower() for text in texts for vague in VAGUE_TEXTS):
        found = cause_of_text(log_end())
    return found or own


def cause_of_text(text: str) -> FailureCause | None:
    """Return the cause of failure that a text names by `FAILURE_TEXTS`; None if it names none."""
    lowered = text.lower()
    for cause, texts in FAILURE_TEXTS:
        if any(one in lowered for one in texts):
            return cause
    return None


def last_written(log: Path, begin: int) -> str:
    """Return the last lines of a log that were written after its first `begin` bytes."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            # A log that was cut meanwhile is shorter than it was.
            start = begin if begin <= size else 0
            stream.seek(max(start, size - LOG_END_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_END_LINES:])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error and those that led to it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
