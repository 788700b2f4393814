"""The model builder of ONNX Runtime GenAI, run as a program: a checkpoint becomes an ONNX graph.

Its Python functions take prepared options that change between versions; its command line is what
its documentation describes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.runtimes.onnxruntime.telemetry import VARIABLE
from tunefront.spaces import EvaluationError
from tunefront.spaces.errors import FailureCause

DEFAULT_GROUP = 32
"""Weights that share a scale at 8 bits, the builder's default."""
ACCURACY_LEVELS: Mapping[str, int] = {"rtn": 1, "dynamic": 4}
"""`accuracy_level` by quantization method: 1 keeps activations in fp32, 4 quantizes them to int8.

4 is the builder's default on the CPU.
"""
_NO_ROOM = "No space left on device"
_KILLED = -9


def build_graph(checkpoint: Path, wanted: NumberFormat, folder: Path) -> None:
    """Write graph, `genai_config.json` and tokenizer to a folder, without network or user's cache.

    Args:
        checkpoint: Folder with the model's configuration, weights and tokenizer.
        wanted: The number format.
        folder: An empty folder.

    Raises:
        EvaluationError: If the builder can't build the model (cause "unsupported", with the
            builder's words), or memory ("oom") or disk ("disk full") do not suffice.
    """
    check_sizes(checkpoint)
    with tempfile.TemporaryDirectory(prefix="tunefront-") as scratch:
        command = [sys.executable, "-P", "-m", "onnxruntime_genai.models.builder"]
        command += [f"--input={checkpoint}", f"--output={folder}", f"--cache_dir={scratch}"]
        command += ["--execution_provider=cpu", f"--precision={_precision(wanted)}"]
        command += ["--extra_options", "hf_token=false", *_quantization(wanted)]
        done = subprocess.run(
            command, env=_environment(scratch), capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise _failure(done)


def check_sizes(checkpoint: Path) -> None:
    """Check that the builder can distinguish the output layer from the others.

    It takes every linear layer with as many outputs as the vocabulary has tokens for the output
    layer, and the last one wins (onnxruntime-genai 0.18): the model would compute nonsense.

    Raises:
        EvaluationError: If another layer has that size (cause "unsupported").
    """
    from safetensors import safe_open

    config = json.loads((checkpoint / "config.json").read_text())
    vocabulary = config.get("vocab_size")
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                shape = weights.get_slice(name).get_shape()
                if len(shape) == 2 and shape[0] == vocabulary and not _vocabulary(name):
                    raise EvaluationError(
                        f"onnxruntime-genai: {name} has {shape[0]} outputs, as many as the "
                        "vocabulary has tokens, and its model builder takes it for the output "
                        "layer; choose another runtime",
                        cause="unsupported",
                    )


def _vocabulary(name: str) -> bool:
    """Return whether a weight is, by its name, the embedding or the output layer."""
    return "embed" in name or "lm_head" in name or "wte" in name


def _precision(wanted: NumberFormat) -> str:
    return f"int{wanted.bits}" if wanted.quantized else wanted.precision


def _quantization(wanted: NumberFormat) -> Sequence[str]:
    if not wanted.quantized:
        return ()
    group = wanted.group_size if wanted.bits < 8 else DEFAULT_GROUP
    return (f"block_size={group}", f"accuracy_level={ACCURACY_LEVELS[wanted.method]}")


def _environment(scratch: str) -> dict[str, str]:
    """Return this process's variables, with those that keep the builder offline."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": scratch,
        VARIABLE: "1",
    }


def _failure(done: "subprocess.CompletedProcess[str]") -> EvaluationError:
    """Return the error for a builder that failed, with the last line that it printed."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    words = lines[-1] if lines else f"the model builder ended with status {done.returncode}"
    cause: FailureCause = "unsupported"
    if done.returncode == _KILLED:
        words, cause = "the model builder was killed: too little memory", "oom"
    elif _NO_ROOM in done.stderr:
        cause = "disk full"
    return EvaluationError(f"onnxruntime-genai: {words}", cause=cause)
