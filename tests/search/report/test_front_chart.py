"""The picture of the front: what its bars mean, where names stand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.report.front_chart import ROLE_COLOURS, Box, draw_front
from tunefront.search.study.confirmation import Confirmation

TrialOf = Callable[..., Trial]
NOTHING = Confirmation(rounds={})


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load("objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}")


@pytest.fixture(scope="session")
def trials(trial: TrialOf) -> list[Trial]:
    """The baseline, two on the front, one that is dominated."""
    figures = [(100, 500, 10.0), (300, 400, 10.1), (200, 200, 10.2), (150, 450, 10.3)]
    found = [
        trial(number, throughput=speed, peak_memory_mb=memory, perplexity=quality, spread=0.1)
        for number, (speed, memory, quality) in enumerate(figures)
    ]
    drop = Measurement(value=1.0, unit="%", low=0.5, high=2.0, samples=9)
    changed = {"quality_drop": drop}
    return [replace(t, measurements={**t.measurements, **changed}) for t in found]


def test_error_bars_are_the_intervals(experiment: Experiment, trials: list[Trial]) -> None:
    views = result_of(experiment, trials, NOTHING).views
    assert views[0].error_bars["throughput"] == pytest.approx((10, 10))
    assert views[1].error_bars["throughput"] == pytest.approx((30, 30))


def test_the_error_bar_of_quality_is_that_of_the_paired_change(
    experiment: Experiment, trials: list[Trial]
) -> None:
    """Half a percent better and one percent worse, of the baseline's 10."""
    views = result_of(experiment, trials, NOTHING).views
    assert views[1].error_bars["perplexity"] == pytest.approx((0.05, 0.1))


def test_every_measured_trial_is_drawn_in_the_colour_of_its_role(
    experiment: Experiment, trials: list[Trial], tmp_path: Path
) -> None:
    result = result_of(experiment, trials, NOTHING)
    roles = [result.view(trial).role for trial in trials]
    assert roles[0] == "baseline"
    assert roles[3] == "dominated"
    assert set(roles[1:3]) == {"front", "recommended"}
    draw_front(result, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        counts = {colour: n for n, colour in image.convert("RGB").getcolors(1 << 24) or ()}
    for colour in ROLE_COLOURS.values():
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert counts.get((red, green, blue), 0) > 10


def test_a_search_of_nothing_but_failures_has_a_picture(
    experiment: Experiment, tmp_path: Path
) -> None:
    draw_front(result_of(experiment, [], NOTHING), tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        assert image.width > 500


def test_boxes_know_what_they_cover() -> None:
    box = Box(0, 0, 10, 10)
    assert box.overlap(Box(5, 5, 20, 20)) == 25
    assert box.overlap(Box(11, 0, 20, 10)) == 0
    assert box.outside(Box(-5, 2, 15, 20)) == 20
    assert box.scaled(2) == Box(0, 0, 20, 20)
