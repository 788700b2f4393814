"""Measurement of an export in several fresh processes, with the machine's speed and state."""

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.evaluators import Measurement, measured_metrics
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.statistics.rounds import rounds_interval
from tunefront.search.text import OnMessage
from tunefront.spaces import ExportError

ROUNDS = 3
ROUND_S = 1.0
"""Time for measuring per round, s."""
ROUND_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The result of the rounds.

    Attributes:
        facts: The read-back of the export in the first round.
        measurements: The measurements by metric, with the interval over the rounds.
        probe: The median times of the fixed probe, ms (`evaluators/exports/machine_speed.py`).
        machine: The largest value over the rounds of each of: the share of the cores' time taken
            by other processes (`foreign`) and by the hypervisor (`steal`), the load average.
    """

    facts: Mapping[str, Any]
    measurements: Mapping[str, Measurement]
    probe: Mapping[str, float]
    machine: Mapping[str, float]

    def manifest_fields(self) -> dict[str, Any]:
        """Return the fields that the export's manifest stores."""
        return {
            "sample_values": {
                name: measurement.value for name, measurement in self.measurements.items()
            },
            "sample_measurements": {
                name: to_plain(measurement) for name, measurement in self.measurements.items()
            },
            "sample_probe": dict(self.probe),
            "sample_machine": dict(self.machine),
        }


def measure_rounds(folder: Path, on_message: OnMessage = lambda line: None) -> Rounds:
    """Run an export's recorded request in fresh processes, one after the other.

    Args:
        folder: The export.
        on_message: Called before each round.

    Raises:
        ExportError: If the export does not run.
    """
    samples: list[Mapping[str, Any]] = []
    probes: list[Mapping[str, float]] = []
    states: list[Mapping[str, float]] = []
    for done in range(ROUNDS):
        on_message(f"measuring: round {done + 1} of {ROUNDS}")
        probes.append(_run(["tunefront.evaluators.exports.machine_speed"]))
        sample, state = _watched(folder)
        samples.append(sample)
        states.append(state)
    names = samples[0]["values"]
    return Rounds(
        facts=samples[0]["facts"],
        measurements={
            name: of_rounds([s["values"][name] for s in samples], name) for name in names
        },
        probe={name: statistics.median(p[name] for p in probes) for name in probes[0]},
        machine={name: max(state[name] for state in states) for name in states[0]},
    )


def of_rounds(values: Sequence[float], metric: str) -> Measurement:
    """Return a metric over the rounds: their median and interval, see `rounds_interval`."""
    value, low, high = rounds_interval(values)
    unit = measured_metrics()[metric].unit
    return Measurement(value=value, unit=unit, low=low, high=high, samples=len(values))


def _watched(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, float]]:
    """Run one round; return its output and the state of the machine during it."""
    from tunefront.evaluators.measures.machine import MachineWatch

    watch, before_s = MachineWatch(), _children_s()
    sample = _run(
        [
            "tunefront.evaluators.exports.verification",
            str(folder.absolute()),
            str(ROUND_S),
            "--sample",
        ]
    )
    state = watch.state(_children_s() - before_s)
    return sample, {"foreign": state.foreign, "steal": state.steal, "load": state.load}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(module: Sequence[str]) -> Any:
    done = subprocess.run(
        [sys.executable, "-P", "-m", *module],
        capture_output=True,
        text=True,
        timeout=ROUND_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ExportError(f"the export does not run: {last[0][-500:]}")
    return json.loads(done.stdout.splitlines()[-1])
