"""Versions of installed distributions, also where another one provides the same modules."""

import importlib.metadata
from collections.abc import Mapping
from types import MappingProxyType

SUBSTITUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "onnxruntime": ("onnxruntime-gpu",),
        "onnxruntime-genai": ("onnxruntime-genai-cuda",),
        "triton": ("pytorch-triton",),  # that of torch's nightly builds
    }
)
"""Distributions with the modules of another one, such as its build for GPUs, by the other's name.

One of them fulfils a requirement of the other.
"""


def distribution_of(name: str) -> str:
    """Return the name of the distribution that is installed: the given one, or its substitute.

    The given name if none of them is installed.
    """
    return next((one for one in (name, *SUBSTITUTES.get(name, ())) if _version(one)), name)


def installed_version(name: str) -> str | None:
    """Return the version of a distribution, or of its substitute; None if neither is installed."""
    return _version(distribution_of(name))


def installed_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those distributions of some that are installed, by name.

    A substitute is there by both names: the one that is required, and its own, since its kernels
    can be others.
    """
    found = {one: installed_version(one) for name in names for one in (name, distribution_of(name))}
    return {name: version for name, version in found.items() if version is not None}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
