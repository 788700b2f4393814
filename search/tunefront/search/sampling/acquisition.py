"""What is expected of candidates, and what each is worth: gain a second, times its chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.experiment.objective import Objective
from tunefront.search.sampling.surrogate.targets import TargetScale


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is expected of candidates.

    Attributes:
        gain: Hypervolume that each adds on average, `(candidates,)`.
        covered: Hypervolume of the front as it is.
        keeping: The probability that it keeps the limits, `(candidates,)`.
        ending_well: The probability that it runs at all, `(candidates,)`.
        apart: How little it is like what runs now, 0.2 to 1, `(candidates,)`.
        mean: Of the figures to be minimised, `(candidates, objectives)`.
        deviation: Of the figures, `(candidates, objectives)`.
        scales: Whether the figures of an objective are logarithms.
        seconds: What each should take, given what is built already, `(candidates,)`.
    """

    gain: Floats
    covered: float
    keeping: Floats
    ending_well: Floats
    apart: Floats
    mean: Floats
    deviation: Floats
    scales: Sequence[TargetScale]
    seconds: Floats

    @property
    def worth(self) -> Floats:
        """Expected gain a second, times the chance of counting; of nothing, what is least known."""
        chance: Floats = self.keeping * self.ending_well * self.apart
        gain = self.gain if (self.gain * chance).max() > 1e-12 else self.deviation.prod(axis=1)
        worth: Floats = gain * chance / self.seconds
        return worth

    @property
    def gains(self) -> Floats:
        """What each adds when it counts, times its chance, over what the front covers; sorted."""
        gains = self.gain * self.keeping * self.ending_well / max(self.covered, 1e-300)
        return np.asarray(-np.sort(-gains))

    def told(self, row: int, objectives: Sequence[Objective]) -> str:
        """One candidate's outlook in words."""
        parts = [f"expected to add {self.gain[row] / max(self.covered, 1e-300):.1%} to the front"]
        for place, objective in enumerate(objectives):
            value, spread = objective.sign * self.mean[row, place], self.deviation[row, place]
            if self.scales[place] == "log":
                parts.append(f"{objective.metric} {np.exp(value):.4g} ± {np.expm1(spread):.0%}")
            else:
                parts.append(f"{objective.metric} {value:.4g} ± {spread:.2g}")
        parts.append(f"keeps the limits at {self.keeping[row]:.0%}")
        parts.append(f"runs at {self.ending_well[row]:.0%}")
        if np.ptp(self.seconds) > 0:
            parts.append(f"takes about {self.seconds[row]:.3g} s")
        return ", ".join(parts)
