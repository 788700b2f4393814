"""Keys of products depend on the kind of GPU and its software, not on how many are visible."""

from collections.abc import Callable, Iterator

import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import EvaluationSettings, WorkloadSpec, builtin_catalog, candidate_key
from tunefront.spaces import detect_hardware

KeyOf = Callable[..., str]


@pytest.fixture
def key_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyOf]:
    """The key of a candidate on a machine with GPUs of which some are visible."""
    spec = WorkloadSpec(task="causal-lm", model="m", data="d", folder="/nowhere")
    settings = EvaluationSettings(workload=spec, fingerprint="f", store="/nowhere")
    configuration = builtin_catalog().complete({"device": "cuda"})

    def find(visible: str | None = None, name: str = "H100", driver: str = "580") -> str:
        gpus = [FakeGpu(uuid=f"GPU-{i}", name=name) for i in range(4)]
        FakeNvml(gpus, driver=driver).install(monkeypatch, visible)
        detect_hardware.cache_clear()
        return candidate_key(settings, configuration)

    yield find
    detect_hardware.cache_clear()


@pytest.mark.parametrize("visible", ["0", "3", "0,1", "GPU-2", "GPU-3,GPU-1", "0,1,2,3"])
def test_keys_do_not_depend_on_cuda_visible_devices(key_with: KeyOf, visible: str) -> None:
    assert key_with(visible) == key_with(None)


@pytest.mark.parametrize("change", [{"name": "A100"}, {"driver": "570"}, {"visible": ""}])
def test_keys_depend_on_the_kind_of_gpu_and_its_driver(
    key_with: KeyOf, change: dict[str, str]
) -> None:
    assert key_with(**change) != key_with()


@pytest.mark.parametrize(
    "variable",
    [
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_LAUNCH_BLOCKING",
        "NCCL_P2P_DISABLE",
        "NVIDIA_TF32_OVERRIDE",
        "PYTORCH_CUDA_ALLOC_CONF",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    ],
)
def test_keys_depend_on_variables_that_cuda_libraries_read(
    key_with: KeyOf, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    before = key_with()
    monkeypatch.setenv(variable, "1")
    assert key_with() != before
