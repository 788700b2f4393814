"""Every runtime, every claim on this processor: close to the reference, saved and loaded, applied.

`TUNEFRONT_TEST_PROCESSOR` tries what is claimed on another processor (tests/processors.py).
Tolerances are cosines between all outputs and the fp32 module's, on random weights: 8 bits keep
three digits of them, 4 bits about one and a half.

A runtime has a file with a class of these tests, so that processes can share the work. A candidate
is built and opened once a file, by the first test that needs it.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from tests.processors import hardware_under_test

from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.runtimes.number_format import layers_not_kept, number_kept
from tunefront.evaluators.testing.cases import RuntimeCase
from tunefront.evaluators.testing.runtimes import RUNTIME_CHECKS, cosine
from tunefront.spaces import NOT_QUANTIZED

from .conftest import CATALOG, MODULES, Build, Case, formats_of, request_of

HERE = Path(__file__).parents[1]
SAME_MEMORY = 0.02
"""Largest difference of two processes; fresh ones differ by 0.1 %."""

COMPILED = {("encoder", "fp32", "none"), ("flat", "bf16", "w8 dynamic")}
"""Compiling takes long: beside the decoders these cases show that the other modules compile."""
FORMAT = {
    "torch": ("bf16", "w8 dynamic"),
    "onnxruntime": ("fp32", "w8 dynamic"),
    "openvino": ("fp32", "w8 static"),
}
"""The quantized format of each runtime that is tried with the decoder, too."""


def cases_of(runtime: str) -> list[ParameterSet]:
    """Every number format of a runtime with every module; see `is_first`."""
    return [
        marked(Case(runtime, module, *format_))
        for format_ in formats_of(runtime, hardware_under_test())
        for module in MODULES
        if runtime != "inductor" or module == "decoder" or (module, *format_) in COMPILED
    ]


def marked(case: Case) -> ParameterSet:
    marks = [] if is_first(case) else [pytest.mark.soak]
    return pytest.param(case, marks=marks, id="-".join(case))


def is_first(case: Case) -> bool:
    """Whether `make test` tries a case: each module plain, each format with one module.

    `make test-all` tries every format with every module.
    """
    format_ = (case.precision, case.quantization)
    if case.runtime == "inductor":
        return case.module == "flat" or (case.module == "decoder" and format_ == ("fp32", "none"))
    plain = format_ == ("fp32", "none")
    return (
        case.module == "flat"
        or plain
        or (case.module, format_) == ("decoder", FORMAT[case.runtime])
    )


def quantization_read_back(facts: Facts) -> str:
    """As in the cases: `w8 static`, or `none`."""
    bits = facts["quantization_bits"]
    return "none" if bits == NOT_QUANTIZED else f"w{bits} {facts['quantization_method']}"


class Conformance:
    """The tests of every runtime."""

    runtime: str

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", cases_of(self.runtime))

    @pytest.mark.parametrize("check", RUNTIME_CHECKS, ids=lambda check: check.__name__)
    def test_a_runtime_keeps_its_contract(
        self, build: Build, case: Case, check: Callable[[RuntimeCase], None]
    ) -> None:
        check(build(case))

    def test_weights_have_fewer_bits_where_they_are_quantized(
        self, build: Build, case: Case
    ) -> None:
        facts = build(case).endpoint.facts()
        assert quantization_read_back(facts) == case.quantization
        assert int(facts["parameters"]) > 0
        bits = {"fp32": 32, "bf16": 16, "fp16": 16}[case.precision]
        assert float(facts["weight_bits"]) <= bits * 1.01
        if case.quantization != "none":
            assert float(facts["weight_bits"]) < bits

    def test_the_script_runs_without_tunefront(self, build: Build, tmp_path: Path) -> None:
        case = build(Case(self.runtime, "decoder"))
        request = request_of(2, 16)
        (output,) = case.endpoint(request)
        shutil.copytree(case.folder, tmp_path, dirs_exist_ok=True)
        samples = {f"input_{name}": array for name, array in request.items()} | {"output_0": output}
        np.savez(tmp_path / "samples.npz", allow_pickle=False, **samples)
        deployment = case.runtime.deployment(case.built, case.configuration)
        assert deployment is not None
        script = deployment.script + interface_of("tensors").sample_script()
        assert "tunefront" not in script
        (tmp_path / "run.py").write_text(script)
        done = subprocess.run(
            [sys.executable, "-I", tmp_path / "run.py"], capture_output=True, text=True, check=True
        )
        assert "output (2, 16, 256)" in done.stdout
        assert float(done.stdout.split()[-1]) < 1e-5

    def test_a_trial_s_process_has_the_memory_of_a_fresh_one(
        self, build: Build, isolation: Isolation, tmp_path: Path
    ) -> None:
        """A trial's is forked from a server that has imported the runtime."""
        case = build(Case(self.runtime, "decoder"))
        case.record.write(case.folder)
        np.savez(tmp_path / "inputs.npz", allow_pickle=False, **request_of(2, 16))
        request = {"candidate": str(case.folder), "inputs": str(tmp_path / "inputs.npz")}
        task = Task(
            function="resident:peak",
            request=request,
            result=dict,
            imports=open_imports(CATALOG, self.runtime),
            log=tmp_path / "log",
            timeout_s=120,
            paths=(str(HERE),),
        )
        forked_mb = isolation.run(task)["peak_mb"]
        program = f"import resident; print(resident.peak({request!r})['peak_mb'])"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=HERE
        )
        assert forked_mb == pytest.approx(float(done.stdout.split()[-1]), rel=SAME_MEMORY)


def dynamic_differs_from_its_weights(build: Build, runtime: str, precision: str) -> None:
    """A property that was set proves nothing: activations that become int8 change the outputs."""
    request = request_of(3, 24)
    dynamic, weights = (
        build(Case(runtime, "decoder", precision, quantization)).endpoint(request)
        for quantization in ("w8 dynamic", "w8 rtn")
    )
    assert not np.array_equal(dynamic[0], weights[0])


def group_size_is_applied(build: Build, runtime: str) -> None:
    """Another size than the default."""
    facts = build(Case(runtime, "flat", quantization="w4 rtn"), group_size=64).endpoint.facts()
    assert facts["group_size"] == 64


def most_sensitive_layers_stay_unquantized(build: Build, runtime: str, quantization: str) -> None:
    """Fewer layers are quantized, which the read-back counts, and outputs come closer."""
    request, errors = request_of(3, 24), []
    all_quantized = build(Case(runtime, "decoder", quantization=quantization))
    half = build(Case(runtime, "decoder", quantization=quantization), sensitive_layers_kept=0.5)
    for share, case in ((0.0, all_quantized), (0.5, half)):
        expected, (output,) = case.reference(request), case.endpoint(request)
        errors.append(1 - cosine(output, expected, request["attention_mask"]))
        facts = case.endpoint.facts()
        layers = int(facts["linear_layers"])
        assert layers >= 8
        assert facts["kept_layers"] == number_kept(share, layers)
        assert layers_not_kept(case.configuration, facts, case.record) is None
        fewer = {**facts, "kept_layers": int(facts["kept_layers"]) - 1}
        if share:
            assert layers_not_kept(case.configuration, fewer, case.record) == (
                f"sensitive_layers_kept: 0.5 requested, but {fewer['kept_layers']} of {layers} "
                "linear layers are unquantized"
            )
    assert errors[1] < errors[0]
