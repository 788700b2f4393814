"""The cause of a failure in every library's words."""

from pathlib import Path

import pytest

from tunefront.evaluators.isolation.child.failure import (
    FAILURE_TEXTS,
    LOG_END_LINES,
    cause_of_text,
    failure_kind,
    last_written,
)
from tunefront.spaces import EvaluationError, FailureCause, WorkloadError

TEXTS: dict[FailureCause, tuple[str, ...]] = {
    "oom": (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA driver error: out of memory",
        "cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED",
        "NCCL Error 1: unhandled cuda error ... Cuda failure 2 'out of memory'",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation",
        "Failed to allocate memory for requested buffer of size 4294967296",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "cc1plus: out of memory allocating 65536 bytes after a total of 1000 bytes",
        "virtual memory exhausted: Cannot allocate memory",
    ),
    "device": (
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "No CUDA GPUs are available",
        "CUDA error: no CUDA-capable device is detected",
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "The NVIDIA driver on your system is too old (found version 11040)",
        "CUDA error: CUDA driver version is insufficient for CUDA runtime version",
        "CUDA driver initialization failed, you might not have a CUDA gpu.",
        "CUDA error: system has unsupported display driver / cuda driver combination",
        "Torch not compiled with CUDA enabled",
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you",
        "CUDA error: invalid device ordinal",
        "CUDA error: system not yet initialized",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: uncorrectable NVLink error detected during the execution",
        "GPU is lost",
        "CUDA error: unknown error",
        "CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    ),
    "crash": (
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: an illegal instruction was encountered",
        "CUDA error: misaligned address",
        "CUDA error: unspecified launch failure",
        "CUDA error: device-side assert triggered",
    ),
    "unsupported": (
        "CUDA error: no kernel image is available for execution on the device",
        "self.size(0) needs to be greater than 16, but got 4",
    ),
}
"""Texts as the libraries write them."""
API_CALL = "aoti_torch_empty_strided(...) API call failed at /tmp/model.wrapper.cpp, line 900"


@pytest.mark.parametrize(
    ("cause", "text"), [(cause, text) for cause, texts in TEXTS.items() for text in texts]
)
def test_a_failure_is_known_by_the_words_of_its_library(cause: FailureCause, text: str) -> None:
    assert cause_of_text(text) == cause
    assert failure_kind(RuntimeError(text)) == cause


def test_every_text_of_the_table_is_in_an_example_or_unambiguous() -> None:
    """In lower case, and no cause hides a text of a later one."""
    for cause, texts in FAILURE_TEXTS:
        for text in texts:
            assert text == text.lower()
            assert cause_of_text(text) == cause


@pytest.mark.parametrize("text", ["shape mismatch", "CUDA error: invalid argument", ""])
def test_other_texts_name_no_cause(text: str) -> None:
    assert cause_of_text(text) is None
    assert failure_kind(ValueError(text)) == "exception"


def raised(text: str, cause: FailureCause, behind: Exception) -> EvaluationError:
    """An error as runtimes raise it, from a library's."""
    try:
        raise EvaluationError(text, cause=cause) from behind
    except EvaluationError as error:
        return error


@pytest.mark.parametrize(
    ("own", "behind", "kind"),
    [
        ("unsupported", "CUDA out of memory", "oom"),
        ("unsupported", "uncorrectable ECC error", "device"),
        ("unsupported", "no lowering of aten.foo", "unsupported"),
        ("exception", "CUBLAS_STATUS_ALLOC_FAILED", "oom"),
        ("invalid output", "CUDA out of memory", "invalid output"),
        ("not applied", "CUDA out of memory", "not applied"),
        ("device", "CUDA out of memory", "device"),
    ],
)
def test_a_build_without_memory_is_not_unsupported(
    own: FailureCause, behind: str, kind: str
) -> None:
    assert failure_kind(raised("inductor: it failed", own, RuntimeError(behind))) == kind


def test_errors_during_the_handling_of_another_one_have_its_cause() -> None:
    try:
        try:
            raise RuntimeError("CUDA out of memory")
        except RuntimeError:
            raise KeyError("model") from None
    except KeyError as error:
        assert failure_kind(error) == "exception"
    try:
        try:
            raise RuntimeError("CUDA out of memory")
        except RuntimeError:
            dict[str, int]()["model"]  # noqa: B018
    except KeyError as error:
        assert failure_kind(error) == "oom"


def test_errors_of_python_and_of_the_system() -> None:
    assert failure_kind(MemoryError()) == "oom"
    assert failure_kind(raised("too large", "unsupported", MemoryError())) == "oom"
    assert failure_kind(OSError(28, "No space left on device")) == "disk full"
    assert failure_kind(WorkloadError("row 3: CUDA out of memory")) == "workload"


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("Error: CUDA out of memory. Tried to allocate 2.00 GiB.", "oom"),
        ("Error: CUDA error: uncorrectable ECC error encountered", "device"),
        ("Error: Expected all tensors to be on the same device", "exception"),
    ],
)
def test_an_error_without_a_reason_is_explained_by_the_end_of_the_log(log: str, kind: str) -> None:
    assert failure_kind(RuntimeError(API_CALL), lambda: log) == kind
    assert failure_kind(raised(API_CALL, "exception", RuntimeError(API_CALL)), lambda: log) == kind
    assert failure_kind(RuntimeError("another error"), lambda: log) == "exception"


def test_only_what_the_task_itself_wrote_explains_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("CUDA out of memory\n")
    begin = log.stat().st_size
    with log.open("a") as stream:
        stream.write("one\n" + "line\n" * LOG_END_LINES)
    assert last_written(log, begin).splitlines() == ["line"] * LOG_END_LINES
    assert last_written(log, begin + 10**6).splitlines() == ["line"] * LOG_END_LINES
    log.write_text("cut\n")
    assert last_written(log, begin) == "cut"
    assert last_written(tmp_path / "missing", 0) == ""
