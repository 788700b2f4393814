"""Modules that tasks import in any case, so that fork servers import them once, before forking."""

import importlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

from tunefront.spaces import Configuration

PROGRAMS = (
    "torch.export.pt2_archive",
    "torch.export._trace",
    "torch.export._unlift",
    "torch.fx.experimental.validator",
    "torch.utils.serialization",
    "torch._inductor.sizevars",
    "sympy.assumptions.wrapper",
    "sympy.tensor.tensor",
    "tunefront.evaluators.runtimes.export_program",
)
"""Modules that torch imports to trace, save or open a program; over one second of CPU time."""
_TRANSFORMERS = (
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
_OWN_TASKS = ("custom",)
"""Tasks that do not load their model with transformers."""
_BUILDING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "inductor": (
            "torch._inductor.compile_fx",
            "tunefront.evaluators.isolation.preload:vector_instructions",
        ),
        "onnxruntime": ("onnx", "onnxscript", "torch.onnx"),
    }
)
"""Modules that a build imports, by runtime."""
_PACKAGES = ("torch._inductor.package", "torch._inductor.codecache", "torch._inductor.cpp_builder")
_COMPILED = "TORCHINDUCTOR_CACHE_DIR"
_TORCHAO = ("torchao.quantization",)


_NAMES = ("build", "describe", "export", "measure", "profile", "quality", "reference", "requests")
TASK_MODULES = tuple(f"tunefront.evaluators.pipelines.tasks.{name}" for name in _NAMES)
"""Modules with the functions of the pipelines' tasks."""
_PRELOAD = "tunefront.evaluators.isolation.preload"
IMPORT_PROFILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "build": ("torch", *TASK_MODULES),
        "torch": ("torch", *TASK_MODULES, f"{_PRELOAD}:programs"),
        "inductor": ("torch", *TASK_MODULES, f"{_PRELOAD}:packages"),
        "onnxruntime": ("numpy", "onnxruntime", *TASK_MODULES),
        "openvino": ("numpy", "openvino", *TASK_MODULES),
    }
)
"""Import profiles: the modules that fork servers import; a function after a colon is called.

Candidates are measured under the profile of their runtime, which imports only what a deployment
would import; all other tasks but profiling use `build`.
"""


def programs() -> None:
    """Import the modules needed to open an exported program."""
    load_installed(PROGRAMS)


def packages() -> None:
    """Import the modules needed to open a compiled package, and detect vector instructions."""
    load_installed((*PROGRAMS, *_PACKAGES))
    vector_instructions()


def vector_instructions() -> None:
    """Let Inductor detect the vector instructions.

    It compiles test programs for that, which would take seconds in every process.
    """
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    before = os.environ.get(_COMPILED)
    with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
        os.environ[_COMPILED] = folder
        with suppress(Exception):  # for example no compiler; the task itself raises the error
            pick_vec_isa()
    os.environ.pop(_COMPILED)
    if before is not None:
        os.environ[_COMPILED] = before


def imports_of(task: str, configuration: Configuration | None = None) -> tuple[str, ...]:
    """Return the modules needed to load a task's model and to build a configuration."""
    needs = () if task in _OWN_TASKS else _TRANSFORMERS
    if configuration is None:
        return needs
    runtime = configuration.text("runtime")
    quantized = configuration["quantization"] != "none"
    torchao = _TORCHAO if quantized and runtime in ("torch", "inductor") else ()
    return (*needs, *PROGRAMS, *_BUILDING.get(runtime, ()), *torchao)


def load_installed(names: Iterable[str]) -> None:
    """Import modules, and call the function named after a colon.

    Missing modules are ignored here; the task that needs them raises the error.
    """
    for name in names:
        module, _, function = name.partition(":")
        with suppress(ImportError):
            imported = importlib.import_module(module)
            if function:
                getattr(imported, function)()
