"""How long a search will take, from trials that were recorded; imports nothing heavy."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from .experiment import SMOKE_SUFFIX, Experiment
from .files import slug_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What recorded trials took.

    Attributes:
        with_build_s: Median seconds of trials that built their candidate.
        without_build_s: Median seconds of trials that found it built.
        trials: How many stand behind it.
    """

    with_build_s: float
    without_build_s: float
    trials: int

    def seconds(self, trials: int, candidates: int) -> tuple[float, float]:
        """The least and the most that so many trials over so many candidates should take."""
        most = min(trials, candidates)
        return (
            trials * self.without_build_s,
            most * self.with_build_s + (trials - most) * self.without_build_s,
        )


def recorded_estimate(experiment: Experiment) -> Estimate | None:
    """From this search's record, or that of its quick check; None where there is neither."""
    name = experiment.name.removesuffix(SMOKE_SUFFIX)
    results = experiment.results.parent
    for folder in (results / slug_of(name), results / slug_of(name + SMOKE_SUFFIX)):
        if found := _from_folder(folder / "trials"):
            return found
    return None


def _from_folder(folder: Path) -> Estimate | None:
    built: list[float] = []
    reused: list[float] = []
    for path in sorted(folder.glob("*.json")):
        fields = json.loads(path.read_text())
        if fields["status"] == "ok":
            times = reused if "candidate" in fields["reused"] else built
            times.append(float(fields["seconds"]["total"]))
    if not built:
        return None
    quick = statistics.median(reused) if reused else statistics.median(built) / 3
    return Estimate(
        with_build_s=statistics.median(built),
        without_build_s=min(quick, statistics.median(built)),
        trials=len(built) + len(reused),
    )
