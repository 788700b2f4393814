"""Experiments on a made-up machine, evaluations and trials with made-up figures, a browser."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tunefront.evaluators import Evaluation, Measurement, builtin_catalog, measured_metrics
from tunefront.search import Experiment, Trial, load_experiment
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.study.trial import TrialStatus
from tunefront.spaces import Configuration, FailureCause, Hardware, Value

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The same examples everywhere, and no deadline: busy machines are slow ones.
settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

LAPTOP = Hardware(
    cpu="Made-up CPU",
    cores=8,
    memory_mb=16_384,
    isa=frozenset({"avx512_bf16"}),
    libraries={
        name: "1.0"
        for name in ("torch", "torchao", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
    },
)
FILE = """\
name: Made up
workload:
  task: causal-lm
  model: nowhere
  data: nowhere.jsonl
space:
  runtime: [torch, openvino]
  batch_size: [1, 8]
  threads: [1, 2]
objectives:
  throughput: maximize
  peak_memory_mb: minimize
limits:
  quality_drop: "<= 5%"
"""


@pytest.fixture(scope="session")
def laptop() -> Hardware:
    """A machine without GPUs, with every library."""
    return LAPTOP


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Experiment]:
    """An experiment in a folder of its own, from the file above, with overrides laid over it."""

    def make(
        *overrides: str, text: str = FILE, smoke: bool = False, hardware: Hardware = LAPTOP
    ) -> Experiment:
        path = tmp_path_factory.mktemp("experiment") / "experiment.yaml"
        path.write_text(text)
        return load_experiment(path, overrides, smoke=smoke, hardware=hardware)

    return make


def figure(name: str, value: float, spread: float) -> Measurement:
    """A measurement with `spread` on both sides of it, as a share of the value."""
    metrics = {**measured_metrics(), QUALITY_DROP.name: QUALITY_DROP}
    unit = metrics[name].unit if name in metrics else ""
    half = spread * abs(value)
    return Measurement(value=value, unit=unit, low=value - half, high=value + half, samples=5)


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., Evaluation]:
    """An evaluation that ended well, with figures by metric."""

    def make(items: Sequence[float] = (), spread: float = 0.0, **figures: float) -> Evaluation:
        named = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0, **figures}
        return Evaluation(
            status="ok",
            measurements={name: figure(name, value, spread) for name, value in named.items()},
            items=(tuple(items), (1.0,) * len(items)),
            seconds={"total": 1.0},
        )

    return make


@pytest.fixture(scope="session")
def failure() -> Callable[..., Evaluation]:
    """An evaluation that failed."""

    def make(cause: FailureCause = "oom", message: str = "no memory left") -> Evaluation:
        return Evaluation(status="failed", cause=cause, stage="measure", message=message)

    return make


@pytest.fixture(scope="session")
def trial() -> Callable[..., Trial]:
    """A row of the record, with figures by metric unless it has none."""

    def make(
        number: int,
        configuration: Mapping[str, Value] | None = None,
        status: TrialStatus = "ok",
        spread: float = 0.0,
        **more: Any,
    ) -> Trial:
        fields = {n: more.pop(n) for n in ("evaluation", "broken", "started") if n in more}
        return Trial(
            number=number,
            configuration=Configuration(configuration or {"threads": number + 1}),
            catalog=builtin_catalog(),
            status=status,
            measurements={name: figure(name, value, spread) for name, value in more.items()},
            **fields,
        )

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, which finds no host but this machine.

    It ends with the file: while Playwright is open its event loop counts as running in this thread,
    and `asyncio.run` of another file would fail.
    """
    from playwright.sync_api import Error, sync_playwright

    names = "chromium", "chromium-browser", "google-chrome"
    found = next((path for path in map(shutil.which, names) if path), None)
    rules = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=[rules])
        except Error as error:
            pytest.skip(f"no Chromium here: {error.message.splitlines()[0]}")
        yield browser
        browser.close()
