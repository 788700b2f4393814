"""References: the defaults of runtimes and the current settings, and why some are left out."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.search import Experiment
from tunefront.search.experiment.references import (
    left_out,
    names_of,
    references_of,
    texts_of,
    to_run,
)
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.spaces import Configuration, Context, ExperimentError, Hardware

Load = Callable[..., Experiment]
FILE = """\
name: references
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  runtime: [torch, openvino]
  precision: [fp32, bf16]
  batch_size: [1, 8]
  threads: [1, 2, 16]
baseline: {runtime: torch, batch_size: 8}
objectives: {throughput: maximize}
"""


@pytest.fixture
def experiment(load: Load) -> Experiment:
    return load(text=FILE)


def found(experiment: Experiment) -> dict[str, str]:
    """The references by name: their label, or why they are left out."""
    catalog = experiment.space.catalog
    return {
        one.name: one.obstacle if one.configuration is None else catalog.label(one.configuration)
        for one in experiment.references
    }


def test_a_default_has_what_the_library_does_and_what_its_caller_decides(
    experiment: Experiment,
) -> None:
    """It uses as many threads of the space as there are cores, and bf16 where there is any."""
    assert found(experiment) == {
        "default of torch": "torch b8 t2",
        "default of openvino": "openvino bf16 b8 t2",
    }


def test_the_first_alternative_that_the_machine_can_run_is_the_default(
    load: Load, laptop: Hardware
) -> None:
    plain = load(text=FILE, hardware=replace(laptop, isa=frozenset({"avx2"})))
    assert found(plain)["default of openvino"] == "openvino b8 t2"


def test_a_default_outside_the_space_is_left_out_with_the_reason(load: Load) -> None:
    assert found(load("space.precision=[fp32]", text=FILE))["default of openvino"] == (
        "its precision is bf16, but the space has fp32; add the value to compare with this default"
    )


def test_a_library_that_is_not_installed_is_a_reason(load: Load, laptop: Hardware) -> None:
    bare = load(text=FILE, hardware=replace(laptop, libraries={"torch": "1.0"}))
    assert found(bare)["default of openvino"] == (
        "openvino, nncf not installed; pip install 'tunefront[openvino]'"
    )


def test_a_choice_that_conditions_exclude_is_not_required(load: Load) -> None:
    override = "space.precision={values: [fp32, bf16], when: {runtime: [torch]}}"
    assert found(load(override, text=FILE))["default of openvino"] == (
        "its precision is bf16, but the space has fp32; add the value to compare with this default"
    )
    assert found(load(override, text=FILE))["default of torch"] == "torch b8 t2"


def test_only_the_runtimes_of_the_space_have_a_default(load: Load) -> None:
    text = FILE.replace("  runtime: [torch, openvino]\n", "")
    assert list(found(load(text=text))) == ["default of torch"]


def test_a_task_without_runtimes_has_no_default(experiment: Experiment, laptop: Hardware) -> None:
    space = replace(experiment.space, context=Context(hardware=laptop, task="training"))
    assert references_of(space, experiment.baseline, None) == ()
    (current,) = references_of(space, experiment.baseline, experiment.baseline)
    assert current.name == "current settings"


def test_a_quick_check_has_no_references(load: Load) -> None:
    assert load(text=FILE, smoke=True).references == ()


def test_current_settings_come_first_and_may_lie_outside_the_listed_values(load: Load) -> None:
    experiment = load("current={runtime: openvino, threads: 4}", text=FILE)
    assert next(iter(found(experiment).items())) == ("current settings", "openvino b1 t4")


@pytest.mark.parametrize(
    ("current", "message"),
    [
        ("{thread: 2}", "--set current.thread: unknown choice 'thread'; did you mean 'threads'?"),
        (
            "{replicas: 2}",
            "--set current.replicas: the space does not have this choice; add it to space",
        ),
        (
            "{threads: 0}",
            "--set current.threads: `1 <= threads <= 1024` must hold, but got 0",
        ),
        (
            "{threads: 16}",
            "--set current: can't run here: 16 threads = 16 cores, but this machine offers 8 "
            "(runtime=torch precision=fp32 batch_size=1 threads=16)",
        ),
    ],
)
def test_current_settings_are_checked(load: Load, current: str, message: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        load(f"current={current}", text=FILE)
    assert str(caught.value) == message


def test_the_baseline_is_not_run_twice_and_equal_references_run_once(load: Load) -> None:
    experiment = load(
        "baseline={batch_size: 8, threads: 2}",
        "current={runtime: openvino, precision: bf16, batch_size: 8, threads: 2}",
        text=FILE,
    )
    references, baseline = experiment.references, experiment.baseline
    assert list(to_run(references, baseline).values()) == ["current settings, default of openvino"]
    assert names_of(references, baseline) == "default of torch"
    assert left_out(references, baseline, None) == {}


def test_a_budget_that_is_too_small_is_a_reason(experiment: Experiment) -> None:
    references, baseline = experiment.references, experiment.baseline
    reason = "budget.trials 2 is used up before; raise it to 3 or more"
    assert left_out(references, baseline, 2) == {"default of openvino": reason}
    assert list(left_out(references, baseline, 1)) == ["default of torch", "default of openvino"]
    assert left_out(references, baseline, 3) == {}


def test_every_reference_has_a_text(load: Load) -> None:
    experiment = load(
        "baseline={batch_size: 8, threads: 2}", "current={threads: 1}", "budget.trials=2", text=FILE
    )
    assert texts_of(experiment.references, experiment.baseline, experiment.budget.trials) == {
        "current settings": "runtime=torch precision=fp32 batch_size=1 threads=1",
        "default of torch": "the baseline",
        "default of openvino": "left out: budget.trials 2 is used up before; raise it to 3 or more",
    }


@pytest.mark.parametrize("sampler", ["ehvi", "random", "grid"])
def test_references_are_proposed_before_everything_else(load: Load, sampler: str) -> None:
    experiment = load(f"sampler={sampler}", "current={threads: 4}", text=FILE)
    listed = experiment.space.enumerate().runnable
    references = to_run(experiment.references, experiment.baseline)
    built = build_sampler(experiment, (*listed, *(one for one in references if one not in listed)))
    proposed: list[tuple[Configuration, str]] = []
    for _ in range(3):
        proposal = built.propose([], [configuration for configuration, _ in proposed])
        assert proposal is not None
        proposed.append((proposal.configuration, proposal.reason))
    assert [reason for _, reason in proposed] == [
        "current settings",
        "default of torch",
        "default of openvino",
    ]
    assert proposed[0][0] not in listed
    assert build_sampler(experiment, listed[:1]).propose([]) is not None
