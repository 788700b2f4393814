"""Distributions that provide the modules of another one."""

import importlib.metadata
from collections.abc import Callable, Mapping

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.runtimes.base import Deployment
from tunefront.search.deploy.serving import serving_versions
from tunefront.spaces import Requirement, detect_hardware
from tunefront.spaces.machine.distributions import (
    distribution_of,
    installed_version,
    installed_versions,
)

Install = Callable[[Mapping[str, str]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Let only some distributions be installed."""

    def make(versions: Mapping[str, str]) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return make


def test_a_build_for_gpus_counts_as_the_distribution(install: Install) -> None:
    install({"onnxruntime-gpu": "1.22.0", "onnx": "1.19.0"})
    assert distribution_of("onnxruntime") == "onnxruntime-gpu"
    assert distribution_of("onnx") == "onnx"
    assert distribution_of("torch") == "torch"
    assert installed_version("onnxruntime") == "1.22.0"
    assert installed_version("torch") is None
    assert installed_versions(("onnx", "onnxruntime", "torch", "triton")) == {
        "onnx": "1.19.0",
        "onnxruntime": "1.22.0",
        "onnxruntime-gpu": "1.22.0",
    }
    install({"onnxruntime-gpu": "1.22.0", "onnxruntime": "1.23.0"})
    assert installed_versions(("onnxruntime",)) == {"onnxruntime": "1.23.0"}


def test_runtimes_are_not_missing_where_their_build_for_gpus_is_installed(
    install: Install,
) -> None:
    catalog = builtin_catalog()
    install({"onnxruntime-gpu": "1", "onnxscript": "2", "onnx": "3", "transformers": "5"})
    hardware = detect_hardware.__wrapped__()
    assert catalog.missing("onnxruntime", hardware) == ()
    assert [one.name for one in catalog.missing("onnxruntime-genai", hardware)] == [
        "onnxruntime-genai"
    ]
    install({"onnxruntime-genai-cuda": "1", "onnx": "3", "transformers": "5"})
    assert catalog.missing("onnxruntime-genai", detect_hardware.__wrapped__()) == ()
    assert Requirement(distribution="no-library").version_on(hardware) is None


def test_an_export_has_the_version_of_what_is_installed(install: Install) -> None:
    install({"onnxruntime-gpu": "1.22.0", "numpy": "2", "fastapi": "3", "uvicorn": "4"})
    found = serving_versions(Deployment(script="", requirements=("onnxruntime",)))
    assert found["onnxruntime"] == "1.22.0"
