"""All metrics of an experiment: those of its measures, also of a user's, and what follows."""

from collections.abc import Callable

import pytest
from tests.extensions.toy_measure.toy_measure import PageFaults

from tunefront.evaluators import BUILTIN_MEASURES, Metric
from tunefront.search import Experiment
from tunefront.search.experiment.metrics import cost_metrics, metrics_of, why_not_measured
from tunefront.spaces import Hardware

MEASURES = (*BUILTIN_MEASURES, PageFaults())


@pytest.fixture
def no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunefront.evaluators.measures.energy.energy_is_counted", lambda: False)


@pytest.mark.usefixtures("no_counter")
def test_metrics_are_those_of_interface_measures_build_quality_and_search(
    load: Callable[..., Experiment], laptop: Hardware
) -> None:
    found = metrics_of(load().workload, laptop, priced=False, measures=MEASURES)
    kinds = {name: metric.kind for name, metric in found.items()}
    assert kinds == {
        "latency_ms": "speed",
        "latency_p90_ms": "speed",
        "latency_p99_ms": "speed",
        "throughput": "speed",
        "tokens_per_second": "speed",
        "peak_memory_mb": "memory",
        "model_memory_mb": "memory",
        "page_faults": "memory",
        "weights_mb": "memory",
        "perplexity": "quality",
        "agreement": "quality",
        "quality_drop": "quality",
    }


@pytest.mark.usefixtures("no_counter")
def test_a_metric_that_a_record_names_is_known_where_it_cannot_be_measured(
    load: Callable[..., Experiment], laptop: Hardware
) -> None:
    named = metrics_of(load().workload, laptop, priced=False, needed=["energy_per_item"])
    assert "energy_per_item" in named and "gpu_memory_mb" not in named


def test_a_rate_and_a_price_make_a_cost(laptop: Hardware) -> None:
    pages = Metric(
        name="pages_per_second",
        unit="pages/s",
        direction="maximize",
        summary="pages in a second",
        kind="speed",
        follows="rate",
    )
    (cost,) = cost_metrics([pages, *PageFaults.metrics]).values()
    assert (cost.name, cost.kind, cost.follows) == ("cost_per_million_pages", "cost", "time")
    assert "price_per_hour" in cost.summary


def test_a_user_s_measure_says_why_it_is_not_there(
    load: Callable[..., Experiment], laptop: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PageFaults, "obstacle", lambda *_: "page faults are not counted here")
    found = why_not_measured("page_faults", laptop, load().workload, MEASURES)
    assert found == "page faults are not counted here"
    assert why_not_measured("no_such_metric", laptop, load().workload, MEASURES) == ""
