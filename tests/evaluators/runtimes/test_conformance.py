"""Every runtime, every claim on this processor: close to the reference, saved and loaded, applied.

`TUNEFRONT_TEST_PROCESSOR` tries what is claimed on another processor (tests/processors.py).
Tolerances are cosines between all outputs and the fp32 module's, on random weights: 8 bits keep
three digits of them, 4 bits about one and a half.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from tests.processors import hardware_under_test, running_hardware

from tunefront.evaluators.evaluation.built import CandidateRecord, Numerics
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.runtimes.base import Candidate, Source
from tunefront.evaluators.runtimes.builtin import RUNTIME_OF
from tunefront.evaluators.runtimes.open import script_of
from tunefront.spaces import RUNTIMES, claims

from .conftest import MODULES, request_of

CPU_CLAIMS = [
    (runtime, precision, quantization)
    for runtime in RUNTIMES
    for precision, quantization in sorted(claims(runtime, hardware_under_test()))
]
LEAST_COSINE: dict[str, float | dict[str, float]] = {
    "none": {"fp32": 0.999999, "bf16": 0.9995, "fp16": 0.9999},
    "int8-dynamic": 0.995,
    "int8-static": 0.97,
    "int8-weight-only": 0.999,
    "int4-weight-only": 0.97,
}
COMPILED = {("encoder", "fp32", "none"), ("flat", "bf16", "int8-dynamic")}
CASES = [
    (*claim, module)
    for claim in CPU_CLAIMS
    for module in MODULES
    # Compiling takes long: of the other modules one case shows that they compile at all.
    if module == "decoder" or claim[0] != "inductor" or (module, *claim[1:]) in COMPILED
]
SOON = {("fp32", "none"), ("bf16", "int8-weight-only")}
"""What the compiled decoder, which takes longest, is every time; `make soak` tries the rest."""
Case = tuple[str, str, str, str]
"""Runtime, precision, quantization, module."""
Built = tuple[Path, Numerics, Mapping[str, object]]
Build = Callable[[Source, Case], Built]


def least_cosine(precision: str, quantization: str) -> float:
    found = LEAST_COSINE[quantization]
    return found[precision] if isinstance(found, dict) else found


def cosine(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Over everything that is not padding."""
    if one.ndim == 3:
        one, other = one[mask.astype(bool)], other[mask.astype(bool)]
    flat = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1]))


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds once a session, whatever asks first."""
    built: dict[Case, Built] = {}

    def make(source: Source, case: Case) -> Built:
        if case not in built:
            runtime, precision, quantization, _ = case
            folder = tmp_path_factory.mktemp("built")
            numerics = Numerics(precision=precision, quantization=quantization)
            settings = RUNTIME_OF[runtime].build(source, numerics, folder)
            built[case] = folder, numerics, settings
        return built[case]

    return make


def marked(case: Case) -> ParameterSet:
    late = case[0] == "inductor" and case[3] == "decoder" and case[1:3] not in SOON
    return pytest.param(case, marks=[pytest.mark.soak] if late else [], id="-".join(case))


@pytest.fixture(params=map(marked, CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def open_candidate(
    build: Build, make_source: Callable[[str], Source], case: Case, threads: int = 1
) -> Candidate:
    folder, numerics, settings = build(make_source(case[3]), case)
    return RUNTIME_OF[case[0]].load(folder, numerics, settings, threads)


def reference(source: Source, request: Inputs) -> np.ndarray:
    with torch.no_grad():
        output: np.ndarray = source.module(**tensors(request)).numpy()
    return output


def test_outputs_are_close_to_the_reference_at_every_size(
    build: Build, make_source: Callable[[str], Source], case: Case
) -> None:
    candidate = open_candidate(build, make_source, case)
    for batch, length in ((1, 7), (3, 24), (4, 50)):
        request = request_of(batch, length, seed=100 + batch)
        expected = reference(make_source(case[3]), request)
        (output,) = candidate(request)
        assert output.shape == expected.shape
        assert output.dtype == np.float32
        found = cosine(output, expected, request["attention_mask"])
        assert found >= least_cosine(case[1], case[2]), (batch, length)


def test_the_choice_is_really_applied(
    build: Build, make_source: Callable[[str], Source], case: Case
) -> None:
    runtime, precision, quantization, _ = case
    facts = open_candidate(build, make_source, case, threads=2).facts()
    assert facts.runtime == runtime
    assert facts.device == "cpu"
    assert facts.precision == precision
    assert facts.quantization == quantization
    assert facts.threads == 2
    assert facts.parameters > 0
    bits = {"fp32": 32, "bf16": 16, "fp16": 16}[precision]
    assert facts.weight_bits <= bits * 1.01
    if quantization != "none":
        assert facts.weight_bits < bits


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [
        pytest.param(runtime, precision, marks=[pytest.mark.soak] if runtime == "inductor" else [])
        for runtime, precision, quantization in CPU_CLAIMS
        if quantization == "int8-dynamic"
    ],
)
def test_dynamic_quantization_does_more_than_its_weights(
    build: Build, make_source: Callable[[str], Source], runtime: str, precision: str
) -> None:
    """A property that was set proves nothing: activations that become int8 change the outputs."""
    request = request_of(3, 24)
    dynamic, weights = (
        open_candidate(build, make_source, (runtime, precision, quantization, "decoder"))(request)
        for quantization in ("int8-dynamic", "int8-weight-only")
    )
    assert not np.array_equal(dynamic[0], weights[0])


@pytest.mark.parametrize("module", MODULES)
def test_the_read_back_sees_whether_openvino_quantizes_activations(
    build: Build, make_source: Callable[[str], Source], module: str
) -> None:
    """As the claim says on the processor that this process runs on, honoured or not."""
    claim = ("fp32", "int8-dynamic")
    facts = open_candidate(build, make_source, ("openvino", *claim, module)).facts()
    honoured = claim in claims("openvino", running_hardware())
    assert facts.quantization == ("int8-dynamic" if honoured else "int8-weight-only")


def test_the_read_back_sees_that_openvino_leaves_activations_in_bf16(
    build: Build, make_source: Callable[[str], Source]
) -> None:
    case = ("openvino", "bf16", "int8-dynamic", "decoder")
    facts = open_candidate(build, make_source, case).facts()
    assert facts.quantization == "int8-weight-only"


def test_loading_again_gives_the_same_outputs(
    build: Build, make_source: Callable[[str], Source], case: Case
) -> None:
    request = request_of(2, 16)
    outputs = [open_candidate(build, make_source, case)(request)[0] for _ in range(2)]
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_nothing_saved_is_pickled(
    build: Build, make_source: Callable[[str], Source], case: Case
) -> None:
    folder, _, _ = build(make_source(case[3]), case)
    for path in folder.rglob("*"):
        if path.suffix == ".pt2":
            assert not pickled_members(path)
        else:
            assert path.suffix in {".onnx", ".xml", ".bin", ".data"}


def pickled_members(path: Path) -> list[str]:
    """Members of a .pt2 that torch would unpickle: sample inputs, and weights marked so."""
    import json
    import zipfile

    found: list[str] = []
    with zipfile.ZipFile(path) as package:
        for info in package.infolist():
            if info.filename.endswith((".pkl", ".pt")) and info.file_size:
                found.append(info.filename)
            if info.filename.endswith("_config.json"):
                config = json.loads(package.read(info)).get("config", {})
                found += [name for name, entry in config.items() if entry["use_pickle"]]
    return found


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_script_runs_without_tunefront(
    build: Build, make_source: Callable[[str], Source], runtime: str, tmp_path: Path
) -> None:
    import shutil
    import subprocess

    case = (runtime, "fp32", "none", "decoder")
    folder, numerics, settings = build(make_source("decoder"), case)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    request = request_of(2, 16)
    (output,) = open_candidate(build, make_source, case)(request)
    samples = {f"input_{name}": array for name, array in request.items()} | {"output_0": output}
    np.savez(tmp_path / "samples.npz", allow_pickle=False, **samples)
    record = CandidateRecord(
        runtime=runtime, numerics=numerics, settings=settings, parameters=1, reference_parameters=1
    )
    script = script_of(record)
    assert "tunefront" not in script
    (tmp_path / "run.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "run.py")], capture_output=True, text=True, check=True
    )
    assert "output (2, 16, 256)" in done.stdout
    assert float(done.stdout.split()[-1]) < 1e-5
