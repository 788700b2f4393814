"""Outputs of the baseline and the picks for the same items, for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from tunefront.evaluators import Sample
from tunefront.search.results.result import Result
from tunefront.search.results.trial_comparison import ItemRow, TrialComparison, difference_text
from tunefront.search.text import one_line


def output_comparison(
    result: Result, samples: Mapping[int, Sequence[Sample]]
) -> dict[str, Any] | None:
    """Return the items with outputs to compare, those that differ most first.

    Args:
        result: The result of the search.
        samples: Recorded outputs by trial number.

    Returns:
        Plain JSON values; None unless outputs of the baseline and of another pick are recorded.
    """
    picked = {pick.trial.number: pick.trial for pick in result.front.picks}
    base = {} if result.baseline is None else {result.baseline.number: result.baseline}
    trials = [trial for trial in {**base, **picked}.values() if trial.number in samples]
    if len(trials) < 2 or trials[0] is not result.baseline:
        return None
    comparison = TrialComparison(result=result, trials=trials, outputs=samples)
    return {
        "metric": comparison.primary.name,
        "trials": [trial.number for trial in trials],
        "differences": [
            difference_text(found, trials[0], comparison.primary)
            for found in comparison.differences
        ],
        "items": [_item(row) for row in comparison.items],
    }


def _item(row: ItemRow) -> dict[str, Any]:
    assert row.example is not None
    return {
        "item": row.item,
        "input": one_line(row.example.input),
        "expected": one_line(row.example.expected) if row.example.expected else "",
        "outputs": [None if s is None else one_line(s.output) for s in row.outputs],
        "right": [None if s is None else s.right for s in row.outputs],
        "quality": list(row.quality),
        "differing": row.differing,
    }
