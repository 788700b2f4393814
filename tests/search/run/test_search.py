"""A search's own events: what is reported when the baseline has been measured."""

from collections.abc import Callable

import pytest

from tunefront.evaluators import Evaluation, QualitySample, WorkloadDescription
from tunefront.search import Experiment
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.search.run.events import DataScarce, Event
from tunefront.search.run.search import _SearchRun
from tunefront.search.study.study import Study

KNOWN = QualitySample(items=5, evaluated=5, level=3.0, spread=1.6, hits=False, near_zero=False)


@pytest.mark.parametrize(("quality", "reported"), [(None, 1), (KNOWN, 0)])
def test_scarce_data_is_reported_after_the_baseline_unless_it_was_before(
    load: Callable[..., Experiment],
    evaluation: Callable[..., Evaluation],
    quality: QualitySample | None,
    reported: int,
) -> None:
    experiment = load()
    study = Study.open(experiment, {"test": "yes"})
    described = WorkloadDescription(fingerprint="abc", quality=quality)
    events: list[Event] = []
    run = _SearchRun(
        experiment,
        study,
        settings_of(experiment, "abc"),
        described,
        experiment.space.enumerate(),
        events.append,
        start=0.0,
        exported=False,
    )
    for configuration in experiment.space.enumerate().runnable[:2]:
        found = evaluation([1.0, 2.0, 3.0, 4.0, 5.0])
        run._on_trial(study.tell(study.ask(configuration), found))
    scarce = [event.scarcity.items for event in events if isinstance(event, DataScarce)]
    assert scarce == [5] * reported
