"""The quality of a candidate as a value."""

import numpy as np
import pytest

from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.quality import MOST_KEPT_ITEMS, Quality
from tunefront.spaces import EvaluationError, WorkloadError


def test_more_items_than_a_record_can_hold_are_refused() -> None:
    Quality(metrics={}, items=np.zeros(MOST_KEPT_ITEMS), weights=np.ones(MOST_KEPT_ITEMS))
    told = r"quality has 100,001 items, and at most 100,000 are kept .*set workload\.items"
    with pytest.raises(WorkloadError, match=told):
        Quality(
            metrics={}, items=np.zeros(MOST_KEPT_ITEMS + 1), weights=np.ones(MOST_KEPT_ITEMS + 1)
        )


def test_a_mean_that_overflows_is_no_score() -> None:
    items = np.full(8, 1e308)
    with np.errstate(over="ignore"):
        score = mean_of(items)
    with pytest.raises(EvaluationError, match="score is inf: the values of its items") as found:
        Quality(metrics={"score": score}, items=items, weights=np.ones(8))
    assert found.value.cause == "invalid output"
