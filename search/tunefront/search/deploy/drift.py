"""Drift of an export: recorded measurements compared with current ones; pure functions.

Absolute values change with the machine, and an export has no baseline to compare with. A fixed
probe measures how fast the machine is now, and the machine's state how busy it is. Changes that
these can explain are reported as "not compared"; only what they cannot explain is drift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunefront.evaluators import Direction, Measurement, Metric, measured_metrics, paired_change
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.formatting import multiple_text, percent_text
from tunefront.evaluators.statistics.paired_quality import is_near_zero, paired_difference

from .rounds import Rounds

DriftVerdict = Literal["holds", "drifted", "not compared"]
LEAST_DRIFT = 0.05
"""Smallest relative change of latency and memory that is drift; day-to-day variation is smaller."""
LEAST_QUALITY_DRIFT = 5e-4
"""Smallest relative change of a quality metric that is drift, beyond its interval."""
BUSY = 0.10
"""Share of the cores' time taken by other processes and the hypervisor above which it is busy."""
BUSY_FACTOR = 2.0
"""Factor by which a busy machine can slow an export down more than it slows the probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of rechecking one metric or one check of an export.

    Attributes:
        metric: The name of the metric or check.
        recorded: The measurement recorded in the export; None for a check.
        now: The current measurement; None if there is none.
        verdict: `holds`, `drifted` or `not compared`.
        detail: The reason as text; can be empty.
        change: The change in % from item to item; None if values are compared without items.
    """

    metric: str
    recorded: Measurement | None = None
    now: Measurement | None = None
    verdict: DriftVerdict
    detail: str = ""
    change: Measurement | None = None

    @property
    def drift(self) -> float | None:
        """The change relative to the recorded value; None if not both values are known."""
        if self.change is not None:
            return self.change.value / 100
        if self.recorded is None or self.now is None or not self.recorded.value:
            return None
        return (self.now.value - self.recorded.value) / abs(self.recorded.value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "metric": self.metric,
            "recorded": None if self.recorded is None else to_plain(self.recorded),
            "now": None if self.now is None else to_plain(self.now),
            "drift": self.drift,
            "verdict": self.verdict,
            "detail": self.detail,
        }


def measurement_findings(
    manifest: Mapping[str, Any], rounds: Rounds, fingerprint: str
) -> list[Finding]:
    """Compare current latency and memory with the values recorded in the manifest.

    Args:
        manifest: The export's manifest.
        rounds: The current measurements.
        fingerprint: This machine's fingerprint; metrics of another machine are `not compared`.
    """
    recorded = _recorded(manifest)
    found: list[Finding] = []
    for name, now in rounds.measurements.items():
        if name not in recorded:
            continue
        before = recorded[name]
        if manifest["hardware"]["fingerprint"] != fingerprint:
            detail = f"recorded on another machine: {manifest['hardware']['summary']}"
            found.append(
                Finding(
                    metric=name, recorded=before, now=now, verdict="not compared", detail=detail
                )
            )
        elif measured_metrics()[name].kind == "speed":
            found.append(_speed(name, before, now, manifest["sample_probe"], rounds))
        else:
            drifted = _beyond(before, now, 1.0)
            verdict: DriftVerdict = "drifted" if drifted else "holds"
            found.append(Finding(metric=name, recorded=before, now=now, verdict=verdict))
    return found


def quality_finding(
    name: str, recorded: Measurement, now: Measurement, direction: Direction
) -> Finding:
    """Compare a quality metric with its recorded interval; an improvement holds."""
    slack = LEAST_QUALITY_DRIFT * abs(recorded.value)
    if direction == "minimize":
        drifted = now.value > recorded.high + slack
    else:
        drifted = now.value < recorded.low - slack
    verdict: DriftVerdict = "drifted" if drifted else "holds"
    return Finding(metric=name, recorded=recorded, now=now, verdict=verdict)


def paired_finding(
    metric: Metric, recorded: Measurement, now: Measurement, before: Array, after: Array
) -> Finding:
    """Compare a quality metric item by item with the recorded trial; an improvement holds.

    It has drifted if the interval of the change is worse than 0, and the change is larger than
    `LEAST_QUALITY_DRIFT`. Items that were not evaluated in the trial are left out.

    Args:
        metric: The primary quality metric.
        recorded: The recorded measurement.
        now: The current measurement.
        before: Recorded values and weights of the items, shape `(2, items)`.
        after: The current ones.
    """
    both = (before[1] > 0) & (after[1] > 0)
    before, after = before[:, both], after[:, both]
    relative = not is_near_zero(before, metric.scale)
    compare, unit, factor = (
        (paired_change, "%", 100.0) if relative else (paired_difference, metric.unit, 1.0)
    )
    value, low, high = (factor * end for end in compare(after, before, metric.scale))
    change = Measurement(value=value, unit=unit, low=low, high=high, samples=len(before[0]))
    loss, least = (value, low) if metric.direction == "minimize" else (-value, -high)
    drifted = least > 0 and (not relative or loss > 100 * LEAST_QUALITY_DRIFT)
    return Finding(
        metric=metric.name,
        recorded=recorded,
        now=now,
        verdict="drifted" if drifted else "holds",
        detail=f"{low:+.2g} to {high:+.2g} {unit}".rstrip()
        + f" on the same {len(before[0])} items",
        change=change if relative else None,
    )


def _speed(
    name: str, before: Measurement, now: Measurement, probe: Mapping[str, float], rounds: Rounds
) -> Finding:
    """Compare a time with the recorded one; slowdown that the machine explains is no drift."""
    busy = rounds.machine["foreign"] + rounds.machine["steal"]
    shifts = [rounds.probe[name] / probe[name] for name in probe if name in rounds.probe]
    explained = max(1.0, 1 / max(1 - busy, 0.1), *shifts)
    slower = multiple_text(explained, "slower", "faster")
    reason = f"the machine itself is {slower} than when it was recorded"
    if busy > BUSY:
        explained *= BUSY_FACTOR
        share = percent_text(busy, decimals=0)
        reason = f"other processes used {share} of the cores' time during the rounds"
    verdict: DriftVerdict = "holds"
    detail = ""
    if _beyond(before, now, explained):
        verdict = "drifted"
        if explained > 1:
            detail = (
                f"more than the machine explains ({multiple_text(explained, 'slower', 'faster')})"
            )
    elif _beyond(before, now, 1.0):
        verdict, detail = "not compared", reason
    return Finding(metric=name, recorded=before, now=now, verdict=verdict, detail=detail)


def _beyond(before: Measurement, now: Measurement, stretch: float) -> bool:
    """Return whether a lower-is-better value is worse than intervals and `stretch` explain.

    Its lower end needs to exceed the recorded upper end x `stretch`, and its value the recorded
    value x `stretch` by more than `LEAST_DRIFT`.
    """
    return now.low > before.high * stretch and now.value > before.value * stretch * (
        1 + LEAST_DRIFT
    )


def _recorded(manifest: Mapping[str, Any]) -> dict[str, Measurement]:
    """Return the recorded measurements of the export by metric."""
    return {
        name: from_plain(Measurement, fields)
        for name, fields in manifest["sample_measurements"].items()
    }
