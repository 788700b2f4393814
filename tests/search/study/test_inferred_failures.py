"""What failures teach, and what they don't."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tunefront.evaluators import Evaluation, builtin_catalog
from tunefront.search import Trial
from tunefront.search.study.inferred_failures import (
    ExcludedConfigurations,
    exclusions_by_failure,
    inferred_failures_of,
)
from tunefront.spaces import Configuration, Context, FailureCause, Hardware, Value, build_space

Failed = Callable[..., Trial]


@pytest.fixture
def failed(trial: Callable[..., Trial]) -> Failed:
    """A trial that failed at a stage, of a cause."""

    def make(
        number: int, configuration: Mapping[str, Value], cause: FailureCause, stage: Any
    ) -> Trial:
        evaluation = Evaluation(status="failed", cause=cause, stage=stage, message="as it does")
        return trial(number, configuration, "failed", evaluation=evaluation)

    return make


def ruled_out(trials: list[Trial], **values: Value) -> bool:
    defaults = builtin_catalog().defaults
    return any(
        lesson.covers(Configuration(values), defaults) for lesson in inferred_failures_of(trials)
    )


def test_out_of_memory_rules_out_what_needs_more_of_the_same_candidate(failed: Failed) -> None:
    own = {"runtime": "torch", "precision": "fp32", "batch_size": 32, "threads": 2}
    trials = [failed(41, own, "oom", "measure")]
    same = {"runtime": "torch", "precision": "fp32"}
    assert ruled_out(trials, **same, batch_size=64, threads=2)
    assert ruled_out(trials, **same, batch_size=32, threads=1)
    assert ruled_out(trials, **same, batch_size=32, replicas=2)
    assert not ruled_out(trials, **same, batch_size=16, threads=2)
    assert not ruled_out(trials, runtime="torch", precision="bf16", batch_size=64)
    assert not ruled_out(trials, runtime="openvino", precision="fp32", batch_size=64)
    text = str(inferred_failures_of(trials)[0])
    assert "batch_size>=32" in text
    assert "skipped, implied by trial 41 (out of memory)" in text


@pytest.mark.parametrize(
    ("causes", "taught"),
    [
        (["unsupported"], True),
        (["not applied"], True),
        (["timeout"], True),
        (["oom"], True),
        (["crash"], False),
        (["crash", "exception"], True),
        (["disk full"], False),
        (["device", "device"], False),
    ],
)
@pytest.mark.parametrize("stage", ["build", "quality"])
def test_a_candidate_that_can_not_be_had_is_not_tried_at_other_batch_sizes(
    failed: Failed, causes: list[FailureCause], taught: bool, stage: str
) -> None:
    own = {"runtime": "torch", "precision": "bf16"}
    trials = [
        failed(number, {**own, "batch_size": number}, cause, stage)
        for number, cause in enumerate(causes, start=1)
    ]
    assert ruled_out(trials, **own, batch_size=8) is taught
    assert not ruled_out(trials, runtime="torch", precision="fp32", batch_size=8)


def test_a_runtime_that_always_fails_is_set_aside(
    failed: Failed, trial: Callable[..., Trial]
) -> None:
    def one(number: int, runtime: str) -> Trial:
        values = {"runtime": runtime, "batch_size": number}
        return failed(number, values, "crash", "measure")

    twice = [one(1, "openvino"), one(2, "openvino"), one(3, "torch")]
    assert not ruled_out(twice, runtime="openvino", batch_size=9)
    thrice = [*twice, one(4, "openvino")]
    assert ruled_out(thrice, runtime="openvino", batch_size=9)
    assert not ruled_out(thrice, runtime="torch", batch_size=9)
    assert "implied by trials 1, 2, 4 (3 of 3 failed: crash)" in str(
        inferred_failures_of(thrice)[0]
    )
    worked = trial(5, {"runtime": "openvino", "batch_size": 5}, throughput=1.0)
    assert not ruled_out([*thrice, worked], runtime="openvino", batch_size=9)


def test_the_baseline_teaches_nothing(failed: Failed) -> None:
    assert not inferred_failures_of(
        [failed(0, {"runtime": "torch", "batch_size": 1}, "oom", "build")]
    )


def test_an_inferred_failure_within_another_is_not_told(failed: Failed) -> None:
    own = {"runtime": "torch", "precision": "fp32"}
    trials = [
        failed(1, {**own, "batch_size": 64}, "oom", "measure"),
        failed(2, {**own, "batch_size": 32}, "oom", "measure"),
    ]
    assert [lesson.trials for lesson in inferred_failures_of(trials)] == [(2,)]


def test_skips_count_what_was_not_tried_and_tell_it_once(failed: Failed) -> None:
    listed = [Configuration({"runtime": "torch", "batch_size": size}) for size in (1, 8, 16, 32)]
    skips = ExcludedConfigurations(listed, builtin_catalog())
    out = failed(1, listed[2], "oom", "measure")
    [(lesson, count)] = skips.update([out])
    assert (lesson.trials, count) == ((1,), 1)
    assert list(skips.configurations) == [listed[3]]
    assert skips.update([out]) == []
    less = replace(out, number=2, configuration=listed[1])
    assert skips.update([out, less]) == []  # 16 was tried, 32 is known
    assert list(skips.configurations) == [listed[3]]


def test_what_is_left_out_is_counted_once(failed: Failed) -> None:
    listed = [Configuration({"runtime": "torch", "batch_size": size}) for size in (1, 8, 16)]
    skips = ExcludedConfigurations(listed, builtin_catalog())
    assert skips.describe() == ""
    assert skips.add_too_large(listed[1:]) == 2
    assert skips.describe() == " (2 that fit on no node)"
    assert skips.add_too_large(listed[1:]) == 0
    assert set(skips.configurations) == set(listed[1:])
    assert skips.update([failed(1, listed[0], "oom", "measure")]) == []


def test_what_is_ruled_out_is_counted_as_a_list_would_be(failed: Failed, laptop: Hardware) -> None:
    runtimes = ["torch", "onnxruntime", "openvino"]
    written = {
        "runtime": runtimes,
        "precision": ["fp32", "bf16"],
        "batch_size": [1, 8, 32],
        "threads": [1, 2],
    }
    space = build_space(written, Context(hardware=laptop, task="causal-lm"), builtin_catalog())
    runnable = space.enumerate().runnable
    by_runtime = {name: [c for c in runnable if c["runtime"] == name] for name in runtimes}
    unlisted = Configuration({**by_runtime["openvino"][0], "batch_size": 64})
    trials = [
        failed(0, by_runtime["torch"][0], "crash", "measure"),
        failed(1, by_runtime["torch"][2], "oom", "measure"),
        failed(2, by_runtime["onnxruntime"][-1], "unsupported", "build"),
        *(failed(3 + i, by_runtime["openvino"][i], "crash", "measure") for i in (0, 0, 3)),
        failed(9, unlisted, "crash", "measure"),
    ]
    for count in range(len(trials) + 1):
        expected = ExcludedConfigurations(runnable, builtin_catalog()).update(trials[:count])
        assert exclusions_by_failure(space, trials[:count]) == expected
    assert len(exclusions_by_failure(space, trials)) == 3
