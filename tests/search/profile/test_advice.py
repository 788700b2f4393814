"""What profiles suggest: every rule shows on a profile made for it, and not on another."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast, get_args

import pytest

from tunefront.evaluators import (
    Profile,
    ProfileRow,
    Roofline,
    builtin_catalog,
    measured_metrics,
)
from tunefront.evaluators.profiling.profile import Kind
from tunefront.search import Experiment, Trial
from tunefront.search.profile.advice import (
    ADVICE_RULES,
    AdviceRule,
    Option,
    Situation,
    Suggestion,
    Tried,
    option_text,
    suggestions_for,
    tried_of,
)
from tunefront.spaces import Value

THROUGHPUT = measured_metrics()["throughput"]
PEAKS = Roofline(peak_gflops=100.0, peak_gb_s=10.0, matmul="fp32")
WORK = {"compute": (90e6, 1e6), "memory": (1e6, 9e6), "overhead": (1e6, 1e4)}
"""Operations and bytes that bound a millisecond so."""


def profile_of(*parts: tuple[str, str, float], operator: str = "") -> Profile:
    """A profile of kinds of work: kind, bound, share of the time."""
    rows = []
    for kind, bound, share in parts:
        assert kind in get_args(Kind)
        flops, moved = (share * work for work in WORK[bound])
        rows.append(
            ProfileRow(
                operator=operator or kind,
                kind=cast(Kind, kind),
                module=None,
                calls=1,
                self_ms=share,
                flops=flops,
                moved_bytes=moved,
            )
        )
    whole = sum(share for _, _, share in parts)
    return Profile(
        rows=rows,
        request_ms=whole,
        profiled_ms=whole,
        passes=1,
        requests=1,
        roofline=PEAKS,
        facts={"threads": 1},
    )


def situation(profile: Profile, cores: int = 8, **values: Value) -> Situation:
    chosen = {"runtime": "torch", "batch_size": 1, "threads": 1, **values}
    configuration = builtin_catalog().complete(chosen)
    return Situation(profile=profile, configuration=configuration, cores=cores, rate=THROUGHPUT)


COMPUTE = profile_of(("matmul", "compute", 0.9), ("memory", "memory", 0.1))
MEMORY = profile_of(("matmul", "memory", 0.9), ("memory", "memory", 0.1))
SMALL = profile_of(("matmul", "overhead", 0.5), ("elementwise", "overhead", 0.5))
COPIES = profile_of(("elementwise", "memory", 0.5), ("normalisation", "memory", 0.5))
QUANTISE = profile_of(("quantise", "memory", 0.2), ("matmul", "compute", 0.8))
FUSED = profile_of(("attention", "compute", 1.0), operator="aten::_scaled_dot_product_attention")
UNFUSED = profile_of(("attention", "compute", 1.0), operator="aten::matmul")
CASES: Sequence[tuple[Situation, Situation]] = (
    (situation(MEMORY), situation(MEMORY, quantization_bits=8, quantization_method="rtn")),
    (situation(MEMORY), situation(COMPUTE)),
    (situation(COMPUTE, device="cuda"), situation(COMPUTE)),
    (situation(COMPUTE), situation(COMPUTE, quantization_bits=8, quantization_method="dynamic")),
    (situation(COMPUTE), situation(COMPUTE, quantization_bits=8, quantization_method="static")),
    (situation(COMPUTE), situation(COMPUTE, threads=8)),
    (situation(COMPUTE), situation(SMALL)),
    (situation(SMALL), situation(COMPUTE)),
    (situation(SMALL), situation(MEMORY)),
    (situation(SMALL), situation(SMALL, runtime="openvino")),
    (situation(SMALL), situation(COMPUTE)),
    (situation(COPIES), situation(COPIES, runtime="inductor")),
    (situation(QUANTISE, quantization_bits=8, quantization_method="dynamic"), situation(QUANTISE)),
    (situation(UNFUSED), situation(FUSED)),
    (situation(FUSED), situation(COMPUTE)),
)
"""For every rule in its order where it shows, and where it does not."""


@pytest.mark.parametrize(
    ("rule", "case"),
    list(zip(ADVICE_RULES, CASES, strict=True)),
    ids=[f"{rule.choice}-{rule.because}" for rule in ADVICE_RULES],
)
def test_a_rule_shows_where_it_should_and_only_there(
    rule: AdviceRule, case: tuple[Situation, Situation]
) -> None:
    shown, other = case
    assert rule.shows(shown)
    assert not rule.shows(other)


def test_rules_name_choices_and_values_of_the_catalogue() -> None:
    for rule in ADVICE_RULES:
        kind = builtin_catalog().kind(rule.choice)
        for value in rule.values:
            assert kind.check(value) == value
        for name, value in rule.also.items():
            assert builtin_catalog().kind(name).check(value) == value
        assert bool(rule.values) == (kind.words is not None or bool(kind.numbers))


def advised(
    load: Callable[..., Experiment], found: Situation, trials: Sequence[Trial] = ()
) -> Mapping[str, Suggestion]:
    space = load("space.precision=[fp32, bf16]").space
    return {s.choice: s for s in suggestions_for(found, space, trials, 0)}


def test_half_the_bits_are_not_halved_again() -> None:
    rules = [rule for rule in ADVICE_RULES if rule.choice == "precision"]
    assert not any(rule.shows(situation(COMPUTE, precision="bf16")) for rule in rules)
    tf32 = situation(COMPUTE, precision="tf32", device="cuda")
    assert [rule.values for rule in rules if rule.shows(tf32)] == [("bf16", "fp16")]


def test_options_say_what_is_in_the_space_and_what_can_run(load: Callable[..., Experiment]) -> None:
    found = advised(load, situation(COMPUTE))
    assert list(found) == ["precision", "quantization_method", "threads", "pruning_ratio"]
    bf16, fp16 = found["precision"].options
    assert (bf16.value, bf16.in_space, bf16.obstacle) == ("bf16", True, "")
    assert (fp16.value, fp16.in_space) == ("fp16", False)
    assert option_text(bf16) == "bf16: in this space; never tried"
    static = found["quantization_method"].options[0]
    assert static.value == "static"
    assert "not in this space; not with this trial's other choices (" in option_text(static)
    (threads,) = found["threads"].options
    assert (threads.value, threads.in_space) == (2, True)
    (ratio,) = found["pruning_ratio"].options
    assert (ratio.value, ratio.in_space) == (0.25, False)


def test_reasons_for_one_choice_stand_together(load: Callable[..., Experiment]) -> None:
    found = advised(load, situation(SMALL))
    assert len(found["batch_size"].reasons) == 2
    assert [option.value for option in found["batch_size"].options] == [8]
    assert [option.value for option in found["runtime"].options] == [
        "openvino",
        "onnxruntime",
        "inductor",
    ]


def test_a_profile_without_trouble_has_no_advice(load: Callable[..., Experiment]) -> None:
    assert advised(load, situation(profile_of(("other", "memory", 1.0)))) == {}


def test_the_record_tells_what_a_value_did(trial: Callable[..., Trial]) -> None:
    def made(number: int, throughput: float, **values: Value) -> Trial:
        chosen = {"runtime": "torch", "threads": 1, **values}
        return trial(number, chosen, throughput=throughput)

    trials = [
        made(0, 10.0, precision="fp32"),
        made(1, 30.0, precision="bf16"),
        made(2, 20.0, threads=2),  # fp32 by default
        made(3, 20.0, threads=2, precision="bf16"),
        made(4, 90.0, threads=4, precision="bf16"),
        trial(5, {"precision": "bf16"}, "failed"),
    ]
    now = trials[0].complete
    found = tried_of(trials, THROUGHPUT, 0, now, {"precision": "bf16"})
    assert found == Tried(trials=3, failed=1, pairs=2, speedup=2.0, best=(4, 9.0))
    told_of = option_text(Option(value="bf16", in_space=True, obstacle="", tried=found))
    assert told_of == (
        "bf16: in this space; 2x faster, median of 2 pairs that differ in this; failed 1 of 4 times"
    )
    alone = tried_of(trials[:1] + trials[4:5], THROUGHPUT, 0, now, {"precision": "bf16"})
    assert alone == Tried(trials=1, failed=0, pairs=0, speedup=None, best=(4, 9.0))
    words = option_text(Option(value="bf16", in_space=True, obstacle="", tried=alone))
    assert words.endswith("the fastest with it is 004, 9x faster, compared with this trial")
    assert tried_of(trials, THROUGHPUT, 0, now, {"precision": "fp16"}).best is None
