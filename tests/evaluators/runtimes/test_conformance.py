"""Every runtime, every claim on this processor: close to the reference, saved and loaded, applied.

`TUNEFRONT_TEST_PROCESSOR` tries what is claimed on another processor (tests/processors.py).
Tolerances are cosines between all outputs and the fp32 module's, on random weights: 8 bits keep
three digits of them, 4 bits about one and a half.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from tests.processors import hardware_under_test, running_hardware

from tunefront.evaluators.evaluation.built import Facts
from tunefront.evaluators.exports.open import script_of
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.runtimes.number_format import layers_not_kept, number_kept
from tunefront.evaluators.testing.cases import RuntimeCase
from tunefront.evaluators.testing.runtimes import RUNTIME_CHECKS, cosine
from tunefront.spaces import NOT_QUANTIZED

from .conftest import (
    CATALOG,
    MODULES,
    RUNTIME_OF,
    configuration_of,
    formats_of,
    request_of,
)

CPU_CLAIMS = [
    (runtime, precision, quantization)
    for runtime in RUNTIME_OF
    for precision, quantization in formats_of(runtime, hardware_under_test())
]
COMPILED = {("encoder", "fp32", "none"), ("flat", "bf16", "w8 dynamic")}
CASES = [
    (*claim, module)
    for claim in CPU_CLAIMS
    for module in MODULES
    # Compiling takes long: of the other modules one case shows that they compile at all.
    if module == "decoder" or claim[0] != "inductor" or (module, *claim[1:]) in COMPILED
]
SOON = {("fp32", "none"), ("bf16", "w8 rtn")}
"""What the compiled decoder, which takes longest, is every time; `make soak` tries the rest."""
Case = tuple[str, str, str, str]
"""Runtime, precision, quantization, module."""
Build = Callable[[Case], RuntimeCase]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, RuntimeCase]:
    """What has been built, once a session."""
    return {}


@pytest.fixture
def build(
    built: dict[Case, RuntimeCase],
    make_source: Callable[[str], Source],
    tmp_path_factory: pytest.TempPathFactory,
) -> Build:
    """Returns the case of a runtime and a module, built by the first test that needs it."""

    def make(case: Case) -> RuntimeCase:
        if case not in built:
            runtime, precision, quantization, module = case
            built[case] = RuntimeCase(
                catalog=CATALOG,
                runtime=RUNTIME_OF[runtime],
                configuration=configuration_of(runtime, precision, quantization),
                make_source=lambda: make_source(module),
                folder=tmp_path_factory.mktemp("built"),
                make_request=request_of,
            )
        return built[case]

    return make


def marked(case: Case) -> ParameterSet:
    late = case[0] == "inductor" and case[3] == "decoder" and case[1:3] not in SOON
    return pytest.param(case, marks=[pytest.mark.soak] if late else [], id="-".join(case))


@pytest.fixture(params=map(marked, CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def quantization_read_back(facts: Facts) -> str:
    """As in the cases: `w8 static`, or `none`."""
    bits = facts["quantization_bits"]
    return "none" if bits == NOT_QUANTIZED else f"w{bits} {facts['quantization_method']}"


@pytest.mark.parametrize("check", RUNTIME_CHECKS, ids=lambda check: check.__name__)
def test_a_runtime_keeps_its_contract(
    build: Build, case: Case, check: Callable[[RuntimeCase], None]
) -> None:
    check(build(case))


def test_weights_have_fewer_bits_where_they_are_quantized(build: Build, case: Case) -> None:
    _, precision, quantization, _ = case
    facts = build(case).open().facts()
    assert quantization_read_back(facts) == quantization
    assert int(facts["parameters"]) > 0
    bits = {"fp32": 32, "bf16": 16, "fp16": 16}[precision]
    assert float(facts["weight_bits"]) <= bits * 1.01
    if quantization != "none":
        assert float(facts["weight_bits"]) < bits


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [
        pytest.param(runtime, precision, marks=[pytest.mark.soak] if runtime == "inductor" else [])
        for runtime, precision, quantization in CPU_CLAIMS
        if quantization == "w8 dynamic"
    ],
)
def test_dynamic_quantization_does_more_than_its_weights(
    build: Build, runtime: str, precision: str
) -> None:
    """A property that was set proves nothing: activations that become int8 change the outputs."""
    request = request_of(3, 24)
    dynamic, weights = (
        build((runtime, precision, quantization, "decoder")).open()(request)
        for quantization in ("w8 dynamic", "w8 rtn")
    )
    assert not np.array_equal(dynamic[0], weights[0])


@pytest.mark.parametrize("module", MODULES)
def test_the_read_back_sees_whether_openvino_quantizes_activations(
    build: Build, module: str
) -> None:
    """As the claim says on the processor that this process runs on, honoured or not."""
    claim = ("fp32", "w8 dynamic")
    facts = build(("openvino", *claim, module)).open().facts()
    honoured = claim in formats_of("openvino", running_hardware())
    assert quantization_read_back(facts) == ("w8 dynamic" if honoured else "w8 rtn")


def test_the_read_back_sees_that_openvino_leaves_activations_in_bf16(
    build: Build,
) -> None:
    facts = build(("openvino", "bf16", "w8 dynamic", "decoder")).open().facts()
    assert quantization_read_back(facts) == "w8 rtn"


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_the_group_size_is_applied(
    make_source: Callable[[str], Source], runtime: str, tmp_path: Path
) -> None:
    configuration = configuration_of(runtime, quantization="w4 rtn", group_size=64)
    loaded = RUNTIME_OF[runtime]
    settings = loaded.build(make_source("decoder"), configuration, tmp_path)
    facts = loaded.load(tmp_path, configuration, settings, threads=1).facts()
    assert facts["group_size"] == 64


@pytest.mark.parametrize("runtime", ["torch", pytest.param("inductor", marks=pytest.mark.soak)])
@pytest.mark.parametrize("quantization", ["w8 rtn", "w8 dynamic"])
def test_the_most_sensitive_layers_stay_unquantized(
    make_source: Callable[[str], Source], runtime: str, quantization: str, tmp_path: Path
) -> None:
    """Fewer layers are quantized, which the read-back counts, and outputs come closer."""
    request, errors = request_of(3, 24), []
    for share in (0.0, 0.5):
        case = RuntimeCase(
            catalog=CATALOG,
            runtime=RUNTIME_OF[runtime],
            configuration=configuration_of(
                runtime, quantization=quantization, sensitive_layers_kept=share
            ),
            make_source=lambda: make_source("decoder"),
            folder=tmp_path / f"{share:g}",
            make_request=request_of,
        )
        case.folder.mkdir()
        expected, (output,) = case.reference(request), case.open()(request)
        errors.append(1 - cosine(output, expected, request["attention_mask"]))
        facts = case.open().facts()
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


@pytest.mark.parametrize("runtime", RUNTIME_OF)
def test_the_script_runs_without_tunefront(build: Build, runtime: str, tmp_path: Path) -> None:
    import shutil
    import subprocess

    case = build((runtime, "fp32", "none", "decoder"))
    record = case.record
    shutil.copytree(case.folder, tmp_path, dirs_exist_ok=True)
    request = request_of(2, 16)
    (output,) = case.open()(request)
    samples = {f"input_{name}": array for name, array in request.items()} | {"output_0": output}
    np.savez(tmp_path / "samples.npz", allow_pickle=False, **samples)
    script = script_of(record)
    assert "tunefront" not in script
    (tmp_path / "run.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "run.py")], capture_output=True, text=True, check=True
    )
    assert "output (2, 16, 256)" in done.stdout
    assert float(done.stdout.split()[-1]) < 1e-5
