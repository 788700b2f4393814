"""What is recorded of an export against what is measured now: pure functions.

Absolute figures drift with the machine, and an export has no baseline beside it. A fixed piece of
work tells how fast the machine is now, and the machine's state how busy. What those may explain is
not judged; drift is only what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunefront.evaluators import Direction, Measurement

from .rounds import Rounds

DriftVerdict = Literal["holds", "drifted", "not judged"]
LEAST_DRIFT = 0.05
"""Of speed and memory: processes of one export differ by less from day to day, for no reason."""
LEAST_QUALITY_DRIFT = 5e-4
"""Of quality, as a share of the figure."""
BUSY = 0.10
"""Of the cores' time that others may take on a machine that counts as quiet."""
BUSY_FACTOR = 2.0
"""How much more a busy machine may slow an export than the fixed work beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at again.

    Attributes:
        metric: What.
        recorded: The figure as it was exported; None for what is no figure.
        now: The figure as it is; None where there is none.
        verdict: Whether it holds.
        detail: Why, in words.
    """

    metric: str
    recorded: Measurement | None = None
    now: Measurement | None = None
    verdict: DriftVerdict
    detail: str = ""

    @property
    def drift(self) -> float | None:
        """The change as a share of what was recorded; None where there is none."""
        if self.recorded is None or self.now is None or not self.recorded.value:
            return None
        return (self.now.value - self.recorded.value) / abs(self.recorded.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metric": self.metric,
            "recorded": None if self.recorded is None else self.recorded.to_dict(),
            "now": None if self.now is None else self.now.to_dict(),
            "drift": self.drift,
            "verdict": self.verdict,
            "detail": self.detail,
        }


def judged_figures(manifest: Mapping[str, Any], rounds: Rounds, fingerprint: str) -> list[Finding]:
    """Speed and memory against what the manifest records.

    Args:
        manifest: The export's.
        rounds: What was measured now.
        fingerprint: This machine's.
    """
    recorded = _recorded(manifest)
    found: list[Finding] = []
    for name, now in rounds.figures.items():
        if name not in recorded:
            continue
        before = recorded[name]
        if manifest["hardware"]["fingerprint"] != fingerprint:
            told = f"recorded on another machine: {manifest['hardware']['summary']}"
            found.append(
                Finding(metric=name, recorded=before, now=now, verdict="not judged", detail=told)
            )
        elif name == "latency_ms":
            found.append(_speed(before, now, manifest["sample_probe"], rounds))
        else:
            drifted = _beyond(before, now, 1.0)
            verdict: DriftVerdict = "drifted" if drifted else "holds"
            found.append(Finding(metric=name, recorded=before, now=now, verdict=verdict))
    return found


def judged_quality(
    name: str, recorded: Measurement, now: Measurement, direction: Direction
) -> Finding:
    """A quality metric against its recorded interval; a better one holds."""
    slack = LEAST_QUALITY_DRIFT * abs(recorded.value)
    if direction == "minimize":
        drifted = now.value > recorded.high + slack
    else:
        drifted = now.value < recorded.low - slack
    verdict: DriftVerdict = "drifted" if drifted else "holds"
    return Finding(metric=name, recorded=recorded, now=now, verdict=verdict)


def _speed(
    before: Measurement, now: Measurement, probe: Mapping[str, float], rounds: Rounds
) -> Finding:
    """Slower than recorded is drift only as far as the machine does not explain it."""
    busy = rounds.machine["foreign"] + rounds.machine["steal"]
    shifts = [rounds.probe[name] / probe[name] for name in probe if name in rounds.probe]
    explained = max(1.0, 1 / max(1 - busy, 0.1), *shifts)
    told = f"the machine itself is {explained:.2f} times slower than when it was recorded"
    if busy > BUSY:
        explained *= BUSY_FACTOR
        told = f"others took {busy:.0%} of the cores' time meanwhile"
    verdict: DriftVerdict = "holds"
    detail = ""
    if _beyond(before, now, explained):
        verdict = "drifted"
        if explained > 1:
            detail = f"more than the machine explains (x{explained:.2f})"
    elif _beyond(before, now, 1.0):
        verdict, detail = "not judged", told
    return Finding(metric="latency_ms", recorded=before, now=now, verdict=verdict, detail=detail)


def _beyond(before: Measurement, now: Measurement, stretch: float) -> bool:
    """Whether a figure, less is better, is worse by more than intervals and machine explain."""
    return now.low > before.high * stretch and now.value > before.value * stretch * (
        1 + LEAST_DRIFT
    )


def _recorded(manifest: Mapping[str, Any]) -> dict[str, Measurement]:
    """Figures of the export with their spread."""
    return {
        name: Measurement.from_dict(fields) for name, fields in manifest["sample_spread"].items()
    }
