"""What AOTInductor needs of a machine to compile for a GPU, beyond torch."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HEADERS = ("cuda.h", "cuda_runtime.h")
"""Headers of the CUDA toolkit that every compiled program includes."""
LINK_TIMEOUT_S = 60.0
_DEFAULT_HOME = Path("/usr/local/cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRequirement:
    """Something that compiling for a GPU needs.

    Attributes:
        name: What it is.
        found: Where or in which version it was found; empty if it is missing.
        remedy: What to do if it is missing.
    """

    name: str
    found: str
    remedy: str


@cache
def gpu_requirements() -> tuple[GpuRequirement, ...]:
    """Return what compiling for a GPU needs of this machine; reads files and links once."""
    home = cuda_home()
    return (
        GpuRequirement(
            name="Triton", found=_triton(), remedy="install triton in the version that torch needs"
        ),
        GpuRequirement(
            name="a C++ compiler",
            found=shutil.which(compiler()) or "",
            remedy="install g++, or set CXX",
        ),
        GpuRequirement(
            name="the headers of CUDA",
            found=_headers(home),
            remedy=f"set CUDA_HOME to a CUDA toolkit{_packaged()}",
        ),
        GpuRequirement(
            name="libcuda.so to link with",
            found=_linked(home),
            remedy="install the driver's development library, or the CUDA toolkit with lib64/stubs "
            "and set CUDA_HOME",
        ),
    )


def lacking_on_gpu() -> str | None:
    """Return what this machine lacks to compile for a GPU, with what to do; None if nothing."""
    missing = [one for one in gpu_requirements() if not one.found]
    if not missing:
        return None
    names = ", ".join(one.name for one in missing)
    return f"inductor on a GPU needs {names}; {'; '.join(one.remedy for one in missing)}"


def compiler() -> str:
    """Return the command of the C++ compiler that Inductor uses."""
    return os.environ.get("CXX") or "g++"


def cuda_home() -> Path | None:
    """Return the folder of the CUDA toolkit, where torch looks for it; None if there is none."""
    written = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if written:
        return Path(written)
    nvcc = shutil.which("nvcc")
    if nvcc is not None:
        return Path(nvcc).parents[1]
    return _DEFAULT_HOME if _DEFAULT_HOME.exists() else None


def links_with(library: str, folders: Sequence[Path]) -> bool:
    """Return whether a shared library can be linked with a library; runs the compiler.

    Args:
        library: Name of the library, without `lib` and ending.
        folders: Folders to search in addition to those of the system.
    """
    with tempfile.TemporaryDirectory() as made:
        source = Path(made, "empty.cpp")
        source.touch()
        options = [f"-L{folder}" for folder in folders]
        output = str(source.with_suffix(".so"))
        command = [compiler(), "-shared", "-o", output, str(source), *options, f"-l{library}"]
        try:
            done = subprocess.run(command, check=False, capture_output=True, timeout=LINK_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == 0


def _triton() -> str:
    found = importlib.util.find_spec("triton")
    return (found.origin or "found") if found is not None else ""


def _headers(home: Path | None) -> str:
    if home is None:
        return ""
    folder = home / "include"
    return str(folder) if all((folder / name).is_file() for name in HEADERS) else ""


def _packaged() -> str:
    """Return a hint at headers that came with Python packages; empty if there are none."""
    found = importlib.util.find_spec("nvidia")
    for root in found.submodule_search_locations or () if found is not None else ():
        for header in sorted(Path(root).glob(f"*/include/{HEADERS[0]}")):
            if _headers(header.parents[1]):
                return f", for example to {header.parents[1]}"
    return ""


def _linked(home: Path | None) -> str:
    folders = [] if home is None else [home / "lib64", home / "lib", home / "lib64" / "stubs"]
    present = [folder for folder in folders if folder.is_dir()]
    return "linked" if links_with("cuda", present) else ""
