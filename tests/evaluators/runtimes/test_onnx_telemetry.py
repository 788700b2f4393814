"""ONNX Runtime without its telemetry, which keeps a device id in the home folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.isolation.child.environment import server_environment
from tunefront.evaluators.runtimes.onnxruntime.runtime import _SCRIPT


def files_after(code: str, home: Path, environment: dict[str, str]) -> list[str]:
    """Run code with a home folder of its own; return the files that it leaves there."""
    home.mkdir()
    command = [sys.executable, "-P", "-c", code]
    subprocess.run(command, env={**environment, "HOME": str(home)}, check=True, timeout=300)
    return [path.name for path in home.rglob("*") if path.is_file()]


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a process of the user."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return server_environment()


def test_tasks_and_exports_leave_no_device_id(
    tmp_path: Path, plain_environment: dict[str, str]
) -> None:
    assert files_after("import onnxruntime", tmp_path / "task", plain_environment) == []
    own = {k: v for k, v in plain_environment.items() if k != "ORT_DISABLE_TELEMETRY"}
    opened = (
        "from pathlib import Path\n"
        "from tunefront.evaluators.runtimes.onnxruntime.runtime import OnnxEndpoint\n"
        "try:\n    OnnxEndpoint(Path('no.onnx'), 1)\nexcept Exception as error:\n"
        "    assert 'no.onnx' in str(error)\n"
    )
    assert files_after(opened, tmp_path / "opened", own) == []
    imports = _SCRIPT.partition("HERE =")[0]
    assert files_after(imports, tmp_path / "export", own) == []
