"""What turns have found, as an evaluation: figures, the ratio to the baseline, doubts."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tunefront.evaluators.evaluation.evaluation import Evaluation, FirstLook
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.intervals import ratio_interval
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing, half_width, ratios
from tunefront.spaces import EvaluationError

from .interleaved import Session, Sitting

MOST_STEAL = 0.05
"""Of the time that a hypervisor may take before figures are doubted."""
Judge = Callable[[Evaluation], FirstLook]
"""What the first turns' evaluation shows."""


def measured(protocol: Protocol, session: Session) -> Evaluation:
    """One evaluation from a candidate's turns, and from the baseline's beside it.

    Raises:
        EvaluationError: With its cause, where the candidate failed.
    """
    own, *others = session.sittings
    if isinstance(own, EvaluationError):
        raise own
    beside = next((other for other in others if isinstance(other, Sitting)), None)
    return Evaluation(
        status="ok",
        measurements=own.measurements,
        relative=relative_throughput(own, beside) if beside else None,
        facts={**own.facts, "waited_s": session.waited_s},
        machine=session.machine,
        doubts=doubts_of(own.timing, session.machine, protocol, beside.timing if beside else None),
        blocks=digits(own.timing.latency_s * 1e3),
    )


def speed_against(evaluation: Evaluation) -> Measurement | None:
    """The throughput against the baseline's, or by itself where that was not beside it.

    None where the workload has no throughput.
    """
    return evaluation.relative or evaluation.measurements.get("throughput")


def plain_look(evaluation: Evaluation) -> FirstLook:
    """A first look that ends nothing."""
    return FirstLook(speed=speed_against(evaluation))


def relative_throughput(own: Sitting, beside: Sitting) -> Measurement:
    """The throughput against another's in the same turns."""
    seen = ratios(own.timing, beside.timing)
    scale = own.timing.items / beside.timing.items
    value, low, high = (scale * end for end in ratio_interval([seen]))
    return Measurement(value=value, unit="x", low=low, high=high, samples=len(seen))


def doubts_of(
    timing: Timing, machine: Mapping[str, float], protocol: Protocol, beside: Timing | None
) -> tuple[str, ...]:
    """Why the figures of these turns are less trustworthy than they should be."""
    found: list[str] = []
    half = half_width(timing, beside)
    if half > 1.5 * protocol.precision:
        found.append(f"interval ±{half:.0%}, wanted ±{protocol.precision:.0%}")
    disturbed = len(timing.clean) - int(timing.clean.sum())
    if not timing.clean[timing.kept].all():
        found.append(f"others took the cores in {disturbed} of {len(timing.clean)} turns")
    if machine["steal"] > MOST_STEAL:
        found.append(f"the hypervisor took {machine['steal']:.0%} of the time")
    if machine.get("gpu_throttled", 0):
        found.append("the GPU's clock was held down for heat or power")
    return tuple(found)


def digits(values: Array) -> tuple[float, ...]:
    """Seven digits: enough for comparisons, and short in the record."""
    return tuple(float(f"{value:.7g}") for value in values)


class Looker:
    """Looks at what the first turns found, and remembers it.

    Args:
        found: The evaluation of a session.
        judge: Who says whether more turns are worth it.
    """

    def __init__(self, found: Callable[[Session], Evaluation], judge: Judge) -> None:
        self._found = found
        self._judge = judge
        self._seen: FirstLook | None = None

    def ends(self, session: Session) -> bool:
        """Whether there are to be no more turns."""
        self._seen = self._judge(self._found(session))
        return self._seen.ended

    def noted(self, found: Evaluation) -> Evaluation:
        """The evaluation at the end, with what was seen; why it ended early stands for doubts."""
        seen = self._seen
        doubts = (seen.hopeless,) if seen is not None and seen.ended else found.doubts
        return replace(found, first_look=seen, doubts=doubts)
