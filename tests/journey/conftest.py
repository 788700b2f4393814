"""One real search, end to end, that the tests of this folder look at."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def journey(lm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("journey")
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(folder=lm_folder))
    yield Journey(folder, tmp_path_factory.mktemp("cache"))
