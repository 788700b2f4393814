"""What is told about a trial where it is looked at: role, ties, doubts, broken limits."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.tracking.note import search_note


@pytest.mark.parametrize(
    ("doubts", "told"),
    [
        ((), ""),
        (("interval ±9%, wanted ±3%",), "; to be doubted: interval ±9%, wanted ±3%"),
        (("one", "two"), "; to be doubted: one, two"),
    ],
)
def test_doubts_are_told(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
    doubts: tuple[str, ...],
    told: str,
) -> None:
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}
    own = trial(1, evaluation=replace(evaluation(), doubts=doubts), quality_drop=0.0, **figures)
    result = result_of(load(), [trial(0, quality_drop=0.0, **figures), own], Confirmation())
    text, _, command = search_note(own, result).partition("\n\n    ")
    assert command == f"tunefront export {result.experiment.path} 1"
    assert text.endswith(told)
    assert ("doubted" in text) is bool(doubts)
