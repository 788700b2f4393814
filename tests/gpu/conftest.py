"""Checks that need a GPU: `make test-gpu` runs them, `make test` leaves them out.

They import neither torch, Ray nor MLflow into this process; harness.py has their variables.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunefront.evaluators import Isolation, WorkloadSpec

from .harness import (
    DEFAULT_SECONDS,
    FIGURES,
    MECHANICS,
    SECONDS,
    Bench,
    Budget,
    CheckFigures,
    Figures,
    Mode,
    body,
)
from .workloads import CUSTOM_CODE, spec_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the checks; without a GPU skip all of them with the reason."""
    own = [item for item in items if HERE in item.path.parents]
    for item in own:
        item.add_marker(pytest.mark.gpu)
        item.add_marker(pytest.mark.filterwarnings("default"))  # libraries of another machine
    if own and (reason := _no_gpu()):
        for item in own:
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    """Why the checks can't run; empty if they can. Reads NVML and imports no framework."""
    if os.environ.get(MECHANICS) == "1":
        return ""
    from tunefront.spaces import detect_hardware

    hardware = detect_hardware()
    return "" if hardware.gpus else "; ".join(("no GPU is visible", *hardware.gpu_problems))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Write the outcome of a check beside its figures."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    figures = item.session.stash.get(FIGURES_KEY, None)
    if figures is None or not (report.when == "call" or report.skipped or report.failed):
        return
    text = report.longreprtext[-1500:] if report.failed else ""
    text = str(report.longrepr[2]) if report.skipped and report.longrepr else text
    figures.note(item.name, outcome=report.outcome, seconds=report.duration, reason=text)


FIGURES_KEY = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def every_figure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Figures:
    named = os.environ.get(FIGURES)
    figures = Figures(Path(named) if named else tmp_path_factory.getbasetemp() / "gpu-figures")
    request.session.stash[FIGURES_KEY] = figures
    print(f"figures: {figures.path}")
    return figures


@pytest.fixture(scope="session")
def budget() -> Budget:
    return Budget(float(os.environ.get(SECONDS, DEFAULT_SECONDS)))


@pytest.fixture(autouse=True)
def enough_gpus(request: pytest.FixtureRequest, mode: Mode) -> None:
    """Skip a check that needs more GPUs, by its mark `gpus`, than there are."""
    mark = request.node.get_closest_marker("gpus")
    if mark is not None:
        mode.need_gpus(mark.args[0])


@pytest.fixture(autouse=True)
def within_budget(
    request: pytest.FixtureRequest, every_figure: Figures, budget: Budget, enough_gpus: None
) -> None:
    """Skip a check whose time, by its mark `takes`, would not fit.

    The times are estimates for an H100; the figures have the seconds that each check took.
    """
    mark = request.node.get_closest_marker("takes")
    if mark is not None and os.environ.get(MECHANICS) != "1":
        budget.skip_unless_it_fits(float(mark.args[0]))


@pytest.fixture(autouse=True)
def no_search_libraries() -> Iterator[None]:
    """A check leaves this process without torch, which would hold a context, Ray and MLflow."""
    yield
    assert {"ray", "mlflow", "tunefront.search"}.isdisjoint(sys.modules)


@pytest.fixture
def figures(request: pytest.FixtureRequest, every_figure: Figures) -> CheckFigures:
    """Writes the figures of a check."""
    return CheckFigures(every_figure, request.node.name)


@pytest.fixture(scope="session")
def mode() -> Mode:
    if os.environ.get(MECHANICS) == "1":
        return Mode(device="cpu")
    from tunefront.spaces import detect_hardware

    gpus = detect_hardware().gpus
    gpu = gpus[0]
    return Mode(device="cuda", uuid=gpu.uuid, memory_mb=gpu.memory_mb, gpus=len(gpus))


@pytest.fixture(scope="session", autouse=True)
def importable(importable_tests: None) -> Iterator[None]:
    """Processes find Tunefront and the tests where neither is installed."""
    folders = [str(ROOT), *(str(ROOT / name) for name in ("spaces", "evaluators", "search"))]
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        yield


@pytest.fixture(scope="session")
def bench(
    mode: Mode, importable: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    isolation = Isolation()
    yield Bench(mode=mode, store=folder / "store", isolation=isolation, log=folder / "log")
    isolation.close()


@pytest.fixture(scope="session")
def workloads(
    mode: Mode, importable: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, WorkloadSpec]:
    """The workloads by name, their models with random weights; needs transformers."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    folder = tmp_path_factory.mktemp("workloads")
    names = body("make_models", folder=str(folder), small=not mode.on_gpu)["names"]
    return {name: spec_of(name, folder) for name in names}


@pytest.fixture(scope="session")
def custom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the modules of custom workloads."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "gpu_modules.py").write_text(CUSTOM_CODE)
    return folder
