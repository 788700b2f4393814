"""What steps import anyway, so that fork servers import it once, before they fork."""

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
"""What torch imports when a program is traced, saved or opened: over a second of a core."""
_TRANSFORMERS = (
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
_OWN_TASKS = ("custom",)
"""Tasks that open no model by transformers."""
_BUILDING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "inductor": (
            "torch._inductor.compile_fx",
            "tunefront.evaluators.isolation.preload:vector_instructions",
        ),
        "onnxruntime": ("onnx", "onnxscript", "torch.onnx"),
    }
)
"""By runtime."""
_PACKAGES = ("torch._inductor.package", "torch._inductor.codecache", "torch._inductor.cpp_builder")
_COMPILED = "TORCHINDUCTOR_CACHE_DIR"
_TORCHAO = ("torchao.quantization",)


def programs() -> None:
    """Import what opening a program takes."""
    load_installed(PROGRAMS)


def packages() -> None:
    """Import and find out what opening a compiled package takes."""
    load_installed((*PROGRAMS, *_PACKAGES))
    vector_instructions()


def vector_instructions() -> None:
    """Let Inductor find out which there are: it compiles for that, seconds in every process."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    before = os.environ.get(_COMPILED)
    with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
        os.environ[_COMPILED] = folder
        with suppress(Exception):  # no compiler, for one; the step meets it itself, and says so
            pick_vec_isa()
    os.environ.pop(_COMPILED)
    if before is not None:
        os.environ[_COMPILED] = before


def imports_of(task: str, configuration: Configuration | None = None) -> tuple[str, ...]:
    """The modules that a step imports: of a task's workload, and of building a configuration."""
    needs = () if task in _OWN_TASKS else _TRANSFORMERS
    if configuration is None:
        return needs
    runtime = str(configuration.get("runtime", "torch"))
    quantized = configuration.get("quantization", "none") != "none"
    torchao = _TORCHAO if quantized and runtime in ("torch", "inductor") else ()
    return (*needs, *PROGRAMS, *_BUILDING.get(runtime, ()), *torchao)


def load_installed(names: Iterable[str]) -> None:
    """Import modules, and call what stands after a colon; what is not installed is left out.

    Whoever needs that says so himself.
    """
    for name in names:
        module, _, function = name.partition(":")
        with suppress(ImportError):
            imported = importlib.import_module(module)
            if function:
                getattr(imported, function)()
