"""The checks of tests/gpu on a machine without a GPU: skipped with the reason, and at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.gpu.harness import DEFAULT_SECONDS, Budget, CheckFigures, Figures, Mode

from tunefront.spaces import detect_hardware

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys, pytest
code = pytest.main(["-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"])
print("loaded", sorted({"torch", "ray", "mlflow"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.mark.skipif(bool(detect_hardware().gpus), reason="this machine has a GPU")
def test_without_a_gpu_every_check_is_skipped_with_the_reason() -> None:
    """No framework is imported for it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "no GPU is visible" in done.stdout
    assert "passed" not in done.stdout and "failed" not in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded []"


MARKS = """
import pytest

class Marks:
    def pytest_collection_finish(self, session):
        for item in session.items:
            gpus, takes = item.get_closest_marker("gpus"), item.get_closest_marker("takes")
            print("mark", gpus.args[0] if gpus else 1, takes.args[0] if takes else None, item.name)

options = ["--collect-only", "-qq", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
pytest.main(options, plugins=[Marks()])
"""


@pytest.mark.parametrize("gpus", [1, 2])
def test_all_checks_together_fit_into_the_time(gpus: int) -> None:
    """Those of a machine with one GPU, and with two; each has an estimate."""
    done = subprocess.run(
        [sys.executable, "-c", MARKS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines() if "mark " in line]
    assert len(lines) > 20
    assert not [name for _, _, takes, name in lines if takes == "None"]
    assert sum(float(takes) for _, need, takes, _ in lines if int(need) <= gpus) <= DEFAULT_SECONDS


def test_a_check_that_does_not_fit_into_the_time_is_skipped() -> None:
    Budget(60.0).skip_unless_it_fits(30.0)
    with pytest.raises(pytest.skip.Exception, match="takes about 90 s, and 60 of 60 s are left"):
        Budget(60.0).skip_unless_it_fits(90.0)


def test_figures_are_in_the_file_as_soon_as_they_are_known(tmp_path: Path) -> None:
    figures = Figures(tmp_path / "new")
    first, second = (CheckFigures(figures, name) for name in ("first", "second"))
    first(speed=1.0)
    assert json.loads(figures.path.read_text()) == {"first": {"speed": 1.0}}
    second(cause="oom")
    first(error=Path("a"))
    assert json.loads(figures.path.read_text()) == {
        "first": {"speed": 1.0, "error": "a"},
        "second": {"cause": "oom"},
    }


def test_on_a_processor_the_mechanics_are_those_of_fp32() -> None:
    cpu, gpu = Mode(device="cpu"), Mode(device="cuda", uuid="GPU-a")
    assert cpu.configuration(precision="bf16")["precision"] == "fp32"
    assert gpu.configuration(precision="bf16")["precision"] == "bf16"
    assert (cpu.devices, gpu.devices) == ((), ("GPU-a",))
    with pytest.raises(pytest.skip.Exception, match="needs a GPU: it counts"):
        cpu.need_gpu("it counts")
