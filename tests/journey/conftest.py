"""One real search, end to end, that the tests of this folder look at."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.conftest import short_measurements

from tunefront.search.cli import main

EXPERIMENT = """\
name: tiny journey
workload:
  task: causal-lm
  model: {folder}/model
  data: {folder}/data.jsonl
  calibration: {folder}/calibration.jsonl
  max_length: 32
space:
  runtime: [torch, onnxruntime, openvino]
  precision: [fp32, bf16]
  quantization_bits: [16, 8]
  quantization_method: [dynamic]
  pruning_ratio: [0.0, 0.5]
  batch_size: [1, 4]
baseline: {{runtime: torch, precision: fp32, batch_size: 1, threads: 1}}
objectives: {{throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}}
limits: {{quality_drop: "<= 50%"}}
budget: {{trials: 6, hours: 1}}
measurement: {{seconds: 0.2, turns: 3, requests: 2, wait: 0}}
confirmation: {{finalists: 2, rounds: 2}}
"""


SECRET = "secret-value-123"
NUMPY = Path(__file__).parents[1] / "extensions" / "toy_runtime" / "toy_runtime.py"
"""A runtime whose processes start in half a second of CPU time; torch's take ten times as long."""


def environment(cache: Path) -> dict[str, str]:
    """A cache of the session's own, no server, and a secret that nobody may write down."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    return {**kept, "TUNEFRONT_CACHE": str(cache), "NO_COLOR": "1", "HF_TOKEN": SECRET}


def command(
    *arguments: str | Path, extra: Mapping[str, str], timeout: float = 900
) -> "subprocess.CompletedProcess[str]":
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from tunefront.search.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env=dict(extra),
        timeout=timeout,
        check=False,
    )


def in_process(
    *arguments: str | Path, extra: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """The command line in the test's process, which has imported it already.

    The progress of `run` is missing from the result: it is printed to file descriptor 2.
    """
    words = [str(argument) for argument in arguments]
    with (
        patch.dict(os.environ, extra, clear=True),
        patch.object(sys, "argv", ["tunefront", *words]),
        patch.object(signal, "signal"),  # SIGTERM stays the test's own
        redirect_stdout(io.StringIO()) as stdout,
        redirect_stderr(io.StringIO()) as stderr,
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="package", autouse=True)
def short_measurements_of_exports() -> Iterator[None]:
    with short_measurements():
        yield


class Journey:
    """A finished search, and the command line beside it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.file = folder / "experiment.yaml"
        self.results = folder / "results" / "tiny-journey"
        self.first = self.cli("run", str(self.file))

    def cli(self, *arguments: str | Path, **extra: str) -> "subprocess.CompletedProcess[str]":
        return command(*arguments, extra={**environment(self.cache), **extra})

    def read(self, *arguments: str | Path, **extra: str) -> "subprocess.CompletedProcess[str]":
        """The command line in this process, whose imports it shares."""
        return in_process(*arguments, extra={**environment(self.cache), **extra})


@pytest.fixture(scope="session")
def journey(lm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("journey")
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(folder=lm_folder))
    yield Journey(folder, tmp_path_factory.mktemp("cache"))
