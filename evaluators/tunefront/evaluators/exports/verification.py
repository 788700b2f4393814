"""Verification of an export in a clean process: files, outputs, read-back, and new measurements.

`python -m tunefront.evaluators.exports.verification FOLDER SECONDS` prints a JSON report and exits
with 0 or 5; with `--sample` it prints the values that the manifest records. Ray, Optuna and MLflow
are not required.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.evaluation.protocol import Protocol, enough
from tunefront.evaluators.exports.open import missing_gpu, open_candidate
from tunefront.evaluators.interfaces.base import Comparison, no_collection
from tunefront.evaluators.interfaces.builtin import RequestSet, interface_of, timing_of
from tunefront.evaluators.interfaces.endpoint import VARYING_FACTS, Endpoint
from tunefront.evaluators.interfaces.generation import GenerationResponse
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.tensors import TOLERANCE
from tunefront.evaluators.measures.base import Reading
from tunefront.evaluators.measures.gpu import runs_on_gpu
from tunefront.evaluators.measures.gpu_memory import GpuMemory
from tunefront.evaluators.measures.machine import ProcessWatch
from tunefront.evaluators.measures.memory import PEAK_MEMORY, group_memory
from tunefront.evaluators.statistics.formatting import number_text, percent_text
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import FP8, NOT_QUANTIZED, Configuration, ExportError, detect_hardware

from .folder import (
    SERVER,
    is_text_server,
    problems_text,
    read_manifest,
    tampered,
    unsafe_parts,
)

MISMATCH = 5
SPEED_TOLERANCE = 0.25
"""Largest allowed relative increase of latency and memory on the same machine.

On another machine the change is only reported.
"""
SERVER_S = 600.0
"""Longest time in seconds until `serve.py --sample` has opened the export and answered."""
ROUNDED_ACTIVATIONS: Mapping[str, float] = MappingProxyType({"dynamic": 2e-2, FP8: 5e-2})
"""Tolerances of outputs where a GPU quantizes activations, by `quantization_method`.

They are estimated, not measured on GPUs.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check.

    Attributes:
        name: Name of the check.
        holds: Whether it passed; None if it can't be decided on this machine.
        detail: The values found, as text.
    """

    name: str
    holds: bool | None
    detail: str


def run_verification(folder: Path, seconds: float = 3.0) -> list[Check]:
    """Run all checks in order; if files differ, the export is not run and later checks are omitted.

    Raises:
        ExportError: If the folder is not an export.
    """
    manifest = read_manifest(folder)
    problems = tampered(folder, manifest) or unsafe_parts(folder)
    checks = [
        Check(
            name="files",
            holds=not problems,
            detail=problems_text(problems) or f"{len(manifest['files'])} files, sha256 as recorded",
        )
    ]
    if problems:  # changed files and files with code in their data are not executed
        return checks
    if missing := missing_gpu(CandidateRecord.read(folder), detect_hardware()):
        return [*checks, Check(name="outputs", holds=False, detail=f"does not run: {missing}")]
    checks += _running(folder, manifest, seconds)
    return [*checks, *([server_check(folder)] if is_text_server(folder) else [])]


def server_check(folder: Path) -> Check:
    """Check that serve.py generates the recorded tokens, without a port.

    It is left open if the libraries that only the server needs are not installed.
    """
    try:
        ran = subprocess.run(
            [sys.executable, "-I", str(folder / SERVER), "--sample"],
            capture_output=True,
            text=True,
            check=False,
            timeout=SERVER_S,
        )
    except subprocess.TimeoutExpired:
        detail = f"{SERVER} --sample has not answered after {SERVER_S:g} s"
        return Check(name="server", holds=False, detail=detail)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1][-300:]
        missing = last.startswith("ModuleNotFoundError")
        return Check(name="server", holds=None if missing else False, detail=last)
    (choice,) = json.loads(ran.stdout.splitlines()[-1])["choices"]
    record = CandidateRecord.read(folder)
    interface = interface_of(record.interface)
    _, recorded = interface.read_sample(folder)
    now = GenerationResponse(tokens=tuple(choice["token_ids"]))
    found = interface.compare(recorded, now, tolerance_of(record.configuration))
    return Check(name="server", holds=found.holds, detail=found.detail)


def tolerance_of(configuration: Configuration) -> float:
    """Return the largest allowed relative difference of an output; see `TOLERANCE`.

    Activations that a GPU quantizes are rounded to one of 255 values, in fp8 to 3 bits after the
    first: where another GPU adds in another order, some are rounded to the next one.
    """
    allowed = TOLERANCE[configuration.text("precision")]
    quantized = configuration.integer("quantization_bits") < NOT_QUANTIZED
    if not quantized or configuration["device"] != "cuda":
        return allowed
    return max(allowed, ROUNDED_ACTIVATIONS.get(configuration.text("quantization_method"), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRun:
    """The findings of running an export in this process.

    Attributes:
        outputs: The response to the recorded request, compared with the recorded one.
        facts: Read-back of the endpoint.
        values: By metric: times of the recorded request, alone; peak memory of the endpoint's
            processes and their descendants, and if it runs on GPUs their memory there.
    """

    outputs: Comparison
    facts: Mapping[str, Any]
    values: Mapping[str, float]


def run_sample(folder: Path, seconds: float) -> ExportRun:
    """Open the export and time its recorded request for about `seconds`."""
    record = CandidateRecord.read(folder)
    interface = interface_of(record.interface)
    request, recorded = interface.read_sample(folder)
    gpu_memory = (
        GpuMemory().start([os.getpid()], ()) if runs_on_gpu(record.configuration) else Reading()
    )
    gpu_memory.before_work()
    endpoint = open_candidate(folder)
    try:
        now = interface.respond(endpoint, request)
        alone = RequestSet(interface=interface, load=Load(), requests=[request])
        timing = time_alone(endpoint, alone, Protocol(seconds=seconds, requests=1))
        gpu_memory.after_work()
        peak_mb = group_memory(endpoint.processes() or ()).peak_mb
        facts = endpoint.facts()
    finally:
        endpoint.close()
    measured = interface.measurements(timing)
    return ExportRun(
        outputs=interface.compare(recorded, now, tolerance_of(record.configuration)),
        facts=facts,
        values={
            **{name: measured[name].value for name in interface.checked if name in measured},
            PEAK_MEMORY.name: peak_mb,
            **{name: m.value for name, m in gpu_memory.measurements(timing).items()},
        },
    )


def _running(folder: Path, manifest: Mapping[str, Any], seconds: float) -> list[Check]:
    sample = run_sample(folder, seconds)
    same_machine = manifest["hardware"]["fingerprint"] == detect_hardware().fingerprint
    outputs = sample.outputs
    return [
        Check(name="outputs", holds=outputs.holds, detail=outputs.detail),
        _facts(sample.facts, manifest),
        *(_figure(n, value, manifest, same_machine) for n, value in sample.values.items()),
    ]


def _facts(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> Check:
    recorded = manifest["facts"]
    wrong = [
        f"{name}: {facts.get(name)}, recorded {value}"
        for name, value in recorded.items()
        if name not in VARYING_FACTS and facts.get(name) != value
    ]
    listed = ", ".join(
        f"{name} {value}" for name, value in recorded.items() if not isinstance(value, float)
    )
    return Check(name="choices", holds=not wrong, detail="; ".join(wrong) or listed)


def _figure(name: str, value: float, manifest: Mapping[str, Any], same_machine: bool) -> Check:
    recorded = float(manifest["sample_values"][name])
    change = value / recorded - 1 if recorded else 0.0
    detail = f"{number_text(value)}, recorded {number_text(recorded)}"
    detail += f" ({percent_text(change, decimals=0, sign=True)})"
    if not same_machine:
        return Check(name=name, holds=None, detail=f"{detail}; recorded on another machine")
    return Check(name=name, holds=bool(change <= SPEED_TOLERANCE), detail=detail)


DECIDING = ("files", "outputs", "choices", "server")
"""Checks that decide; measurements only warn, because machines are shared."""


def passed(checks: Sequence[Check]) -> bool:
    """Return whether all deciding checks passed."""
    return all(check.holds is not False for check in checks if check.name in DECIDING)


def main(arguments: Sequence[str]) -> int:
    """Print the report and return the exit code."""
    folder, seconds = Path(arguments[0]), float(arguments[1])
    if "--sample" in arguments:
        sample = run_sample(folder, seconds)
        print(json.dumps({"facts": dict(sample.facts), "values": dict(sample.values)}))
        return 0
    try:
        checks = run_verification(folder, seconds)
    except ExportError as error:
        checks = [Check(name="files", holds=False, detail=str(error))]
    except Exception as error:  # any error that prevents the run fails the check
        checks = [Check(name="outputs", holds=False, detail=f"does not run: {error}")]
    print(json.dumps([asdict(check) for check in checks]))
    return 0 if passed(checks) else MISMATCH


def time_alone(endpoint: Endpoint, made: RequestSet, protocol: Protocol) -> Timing:
    """Warm up, then time blocks until the protocol is satisfied, without interleaving."""
    blocks: list[list[Block]] = []
    interface = made.interface
    with no_collection():
        interface.warm_up(endpoint, made.part(0), made.load, protocol.seconds)
        watch = ProcessWatch(endpoint.processes() or ())
        start = time.perf_counter()
        while not blocks or not enough(
            timing_of(made, blocks), time.perf_counter() - start, protocol
        ):
            part, load = made.part(len(blocks)), made.load_of(len(blocks))
            blocks.append([interface.run_block(endpoint, part, load, protocol.block_s, watch)])
    return timing_of(made, blocks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
