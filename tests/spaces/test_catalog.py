"""The built-in choices, runtimes and presets agree with each other."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from tests.processors import PROCESSORS, hardware_with

from tunefront.spaces import (
    CHOICES,
    PRESETS,
    RUNTIMES,
    STAGE_OF,
    STAGES,
    Context,
    SpaceError,
    build_space,
    choice_kind,
    claims,
)
from tunefront.spaces.hardware import LIBRARIES

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_goes_by_its_own_name_and_has_a_stage(name: str) -> None:
    assert CHOICES[name].name == name
    assert STAGE_OF[name] == CHOICES[name].stage
    assert STAGE_OF[name] in STAGES


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_explains_itself(name: str) -> None:
    kind = CHOICES[name]
    assert kind.help.endswith(".")
    assert all(kind.words.values()) if kind.words is not None else kind.low < kind.high


@pytest.mark.parametrize("name", CHOICES)
def test_a_choices_default_is_legal(name: str) -> None:
    kind = CHOICES[name]
    assert kind.check(kind.default) == kind.default
    assert type(kind.check(kind.default)) is type(kind.default)


@pytest.mark.parametrize("name", CHOICES)
def test_a_choices_conditions_name_other_choices(name: str) -> None:
    others = set(CHOICES) - {name}
    assert {condition.choice for condition in CHOICES[name].when} <= others


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_claims_legal_words_only(runtime: str) -> None:
    facts = RUNTIMES[runtime]
    precisions, quantizations = CHOICES["precision"].words, CHOICES["quantization"].words
    assert precisions is not None and facts.precisions <= set(precisions)
    assert quantizations is not None and facts.quantizations <= set(quantizations)
    assert facts.devices <= set(CHOICES["device"].words or {})


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_runs_the_plain_model_on_the_processor(runtime: str) -> None:
    for processor in PROCESSORS:
        assert ("fp32", "none") in claims(runtime, hardware_with(processor))
    assert "cpu" in RUNTIMES[runtime].devices


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_a_runtime_needs_is_looked_for_and_can_be_installed(runtime: str) -> None:
    facts = RUNTIMES[runtime]
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert set(facts.needs) <= set(LIBRARIES)
    assert not facts.extra or facts.extra in extras


def test_every_claimed_quantization_is_there_in_some_runtime() -> None:
    claimed = {quantization for facts in RUNTIMES.values() for quantization in facts.quantizations}
    assert claimed == set(CHOICES["quantization"].words or {})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_space_that_can_run(preset: str, context: Callable[..., Context]) -> None:
    space = build_space(PRESETS[preset], context())
    assert {choice.name for choice in space.choices} == set(PRESETS[preset])
    assert space.enumerate().runnable


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_exactly_the_claims_of_every_processor(
    preset: str, processor: str, context: Callable[..., Context]
) -> None:
    here = context(isa=PROCESSORS[processor])
    found = build_space(PRESETS[preset], here).enumerate().runnable
    tried = {
        (
            str(c.get("device", "cpu")),
            str(c["runtime"]),
            str(c["precision"]),
            str(c["quantization"]),
        )
        for c in found
    }
    written = PRESETS[preset]
    device, *_ = cast("list[str]", written.get("device", ["cpu"]))
    expected = {
        (device, runtime, *claim)
        for runtime in cast("list[str]", written["runtime"])
        for claim in claims(runtime, here.hardware, device=device)
        if claim[0] in cast("list[str]", written["precision"])
        and claim[1] in cast("list[str]", written["quantization"])
    }
    assert tried == expected


@pytest.mark.parametrize("preset", [name for name in PRESETS if name.startswith("cpu")])
def test_a_preset_for_the_processor_runs_without_gpus(
    preset: str, context: Callable[..., Context]
) -> None:
    found = build_space(PRESETS[preset], context(gpus=())).enumerate()
    assert found.runnable == build_space(PRESETS[preset], context()).enumerate().runnable


def test_an_unknown_choice_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpaceError) as caught:
        choice_kind("quantisation")
    assert str(caught.value) == "unknown choice 'quantisation'; did you mean 'quantization'?"
