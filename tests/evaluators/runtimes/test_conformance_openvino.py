"""OpenVINO keeps the contract of runtimes."""

import subprocess
import sys

import pytest
from tests.processors import running_hardware

from .conformance import (
    Conformance,
    dynamic_differs_from_its_weights,
    group_size_is_applied,
    quantization_read_back,
)
from .conftest import CATALOG, MODULES, Build, Case, formats_of, precisions_of


class TestOpenVino(Conformance):
    runtime = "openvino"


@pytest.mark.parametrize("precision", precisions_of("openvino", "w8 dynamic"))
def test_dynamic_quantization_does_more_than_its_weights(build: Build, precision: str) -> None:
    dynamic_differs_from_its_weights(build, "openvino", precision)


@pytest.mark.parametrize("module", MODULES)
def test_the_read_back_sees_whether_activations_are_quantized(build: Build, module: str) -> None:
    """As the claim says on the processor that this process runs on, honoured or not."""
    claim = ("fp32", "w8 dynamic")
    facts = build(Case("openvino", module, *claim)).endpoint.facts()
    honoured = claim in formats_of("openvino", running_hardware())
    assert quantization_read_back(facts) == ("w8 dynamic" if honoured else "w8 rtn")


def test_the_read_back_sees_that_activations_stay_in_bf16(build: Build) -> None:
    facts = build(Case("openvino", "decoder", "bf16", "w8 dynamic")).endpoint.facts()
    assert quantization_read_back(facts) == "w8 rtn"


def test_the_group_size_is_applied(build: Build) -> None:
    group_size_is_applied(build, "openvino")


def test_a_fork_server_imports_openvino_without_its_telemetry() -> None:
    imports = CATALOG.imports("openvino", "open")
    program = f"""
from tunefront.evaluators.isolation.preload import load_installed
load_installed({imports!r})
import openvino.tools.ovc.telemetry_utils as used
print(used.tm.__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub"], done.stderr
