"""Modules that tasks import in any case, so that fork servers import them once, before forking."""

import importlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tunefront.evaluators.store.store import Store, environment_of, key_of, stages_folder
from tunefront.spaces import Catalog, Configuration, detect_hardware

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
_PACKAGES = (
    "torch.export.pt2_archive",
    "torch._inductor.package",
    "torch._inductor.codecache",
    "torch._inductor.cpp_builder",
    "sympy.assumptions.wrapper",
)
"""Modules that torch imports to open a compiled package; those of a program would be 17 MB more."""
_COMPILED = "TORCHINDUCTOR_CACHE_DIR"


_NAMES = (
    "build",
    "describe",
    "export",
    "measure",
    "probes",
    "profile",
    "quality",
    "reference",
    "requests",
)
TASK_MODULES = tuple(f"tunefront.evaluators.pipelines.tasks.{name}" for name in _NAMES)
"""Modules with the functions of the pipelines' tasks."""
PRELOAD = "tunefront.evaluators.isolation.preload"
"""Name of this module, for functions that fork servers call."""
BUILD_IMPORTS = ("torch", *TASK_MODULES)
"""What the fork server imports of all tasks that do not run a candidate.

Candidates are measured in forks of a server that imports only what a deployment would; see
`open_imports`.
"""
COLLECTING = "gc:enable"
"""Makes a fork server collect garbage during its imports, as a deployment does.

Without it, torch's imports leave 7 MB more, which would count as memory of each candidate.
"""


def programs() -> None:
    """Import the modules needed to open an exported program."""
    load_installed(PROGRAMS)


def packages() -> None:
    """Import the modules needed to open a compiled package, and detect vector instructions."""
    load_installed(_PACKAGES)
    vector_instructions()


def vector_instructions() -> None:
    """Let Inductor detect the vector instructions; it compiles test programs for that.

    They are kept in Inductor's own cache if the user names its folder, else in the store: 11 s of
    CPU time the first time, 2 s afterwards. A process that has GPUs does without: its kernels are
    those of Triton, and the detection calls CUDA where a CUDA toolkit is installed.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    with suppress(Exception):  # for example no compiler; the task itself raises the error
        if _COMPILED in os.environ:
            pick_vec_isa()
        else:
            _detect_instructions(Store(stages_folder()).get_or_make(_key(), _detect_instructions))


def _key() -> str:
    return key_of(kind="vector instructions", environment=environment_of(detect_hardware()))


def _detect_instructions(folder: Path) -> None:
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    os.environ[_COMPILED] = str(folder)
    try:
        pick_vec_isa()
    finally:
        os.environ.pop(_COMPILED)


def open_imports(catalog: Catalog, runtime: str) -> tuple[str, ...]:
    """Return what the fork server of a runtime's candidates imports, first `COLLECTING`."""
    return (COLLECTING, *catalog.imports(runtime, "open"), *TASK_MODULES)


def imports_of(
    catalog: Catalog, task: str, configuration: Configuration | None = None
) -> tuple[str, ...]:
    """Return the modules needed to load a task's model and to build a complete configuration."""
    needs = catalog.imports(task, "load")
    return needs if configuration is None else (*needs, *catalog.build_imports(configuration))


def load_module(name: str) -> None:
    """Import a module, and call the function named after a colon.

    Raises:
        ImportError: If it is missing.
    """
    module, _, function = name.partition(":")
    imported = importlib.import_module(module)
    if function:
        getattr(imported, function)()


def load_installed(names: Iterable[str]) -> None:
    """Import modules as `load_module` does.

    Missing modules are ignored here; the task that needs them raises the error.
    """
    for name in names:
        with suppress(ImportError):
            load_module(name)
