"""The quality of a candidate as a value."""

import numpy as np
import pytest

from tunefront.evaluators.workloads.quality import MOST_ITEMS, Quality
from tunefront.spaces import WorkloadError


def test_more_items_than_a_record_can_hold_are_refused() -> None:
    Quality(metrics={}, items=np.zeros(MOST_ITEMS), weights=np.ones(MOST_ITEMS))
    told = r"quality has 100,001 items, and at most 100,000 are kept .*set workload\.items"
    with pytest.raises(WorkloadError, match=told):
        Quality(metrics={}, items=np.zeros(MOST_ITEMS + 1), weights=np.ones(MOST_ITEMS + 1))
