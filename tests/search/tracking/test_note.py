"""The note of a run: sentence, ties, warnings, missed limits, command."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.tracking.note import search_note


@pytest.mark.parametrize(
    ("warnings", "text"),
    [
        ((), ""),
        (("interval ± 9 %, wanted ± 3 %",), "(unconfirmed: interval ± 9 %, wanted ± 3 %)"),
        (("one", "two"), "(unconfirmed: one, two)"),
    ],
)
def test_warnings_are_part_of_the_note(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
    warnings: tuple[str, ...],
    text: str,
) -> None:
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}
    own = trial(1, evaluation=replace(evaluation(), warnings=warnings), quality_drop=0.0, **figures)
    result = result_of(load(), [trial(0, quality_drop=0.0, **figures), own], Confirmation())
    note, _, command = search_note(result.view(own), result).partition("\n\n    ")
    assert command == f"tunefront export {result.experiment.path} 1"
    assert text in note
    assert note.startswith("about " if warnings else "the same speed")
    assert ("unconfirmed" in note) is bool(warnings)
    assert "warnings" not in note
