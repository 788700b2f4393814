"""What commands print about a plan."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.processors import PROCESSORS

from tunefront.evaluators import Evaluation, builtin_catalog
from tunefront.evaluators.exports.verification import Check
from tunefront.search import Experiment, Limit, Trial, result_of
from tunefront.search.deploy.verify import Verification
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.doctor.machine import doctor_lines
from tunefront.search.terminal.listings import verification_table
from tunefront.search.terminal.plan import plan_lines
from tunefront.search.terminal.result import (
    failure_lines,
    miss_lines,
    picks_lines,
    ties_line,
    trial_lines,
)
from tunefront.search.terminal.tables import print_table, table_of
from tunefront.spaces import Hardware, number_formats
from tunefront.spaces.machine.control_groups import Limits


def test_the_plan_names_what_is_run_and_what_is_left_out(load: Callable[..., Experiment]) -> None:
    experiment = load("space.threads=[1, 16]", "space.batch_size={low: 1, high: 16}")
    lines = plan_lines(experiment, experiment.space.enumerate())
    assert "space: 64 configurations, 32 can run here, 2 different models to build" in lines
    assert "  runtime (runtime): torch, openvino" in lines
    assert "limits: quality_drop <= 5 %" in lines
    assert "  batch_size (execution): 1, 2, 3, ..., 15, 16 (16 values)" in lines
    assert lines[-1].startswith("  32: 16 threads = 16 cores, but this machine offers 8")


def test_the_plan_of_another_processor_names_what_it_lacks(
    load: Callable[..., Experiment], laptop: Hardware
) -> None:
    written = (
        "space={runtime: [torch, onnxruntime, openvino], precision: [fp32, bf16], "
        "quantization_bits: [16, 8], quantization_method: [dynamic, static]}",
        "baseline={}",
    )
    experiment = load(*written, hardware=replace(laptop, isa=PROCESSORS["avx2"]))
    lines = plan_lines(experiment, experiment.space.enumerate())
    assert lines[lines.index("left out:") + 1 :] == [
        "  6: this processor has no bf16 instructions: it would be emulated  "
        "[runtime=torch|openvino, precision=bf16]",
        "  3: onnxruntime does not support precision bf16; it supports fp32  "
        "[runtime=onnxruntime, precision=bf16]",
        "  1: torch does not support quantization_method static; it supports dynamic, fp8, rtn  "
        "[runtime=torch, quantization_method=static, quantization_bits=8]",
        "  1: onnxruntime does not support quantization_method static; it supports dynamic, rtn  "
        "[runtime=onnxruntime, quantization_method=static, quantization_bits=8]",
        "  1: this processor has no VNNI instructions: openvino would quantize the weights only  "
        "[runtime=openvino, quantization_bits=8, quantization_method=dynamic]",
    ]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_doctor_lists_the_number_formats_of_the_processor(processor: str, laptop: Hardware) -> None:
    here = replace(laptop, isa=PROCESSORS[processor])
    catalog = builtin_catalog()
    lines = doctor_lines(here, catalog)
    begin = lines.index("number formats on this processor:") + 1
    for line, runtime in zip(lines[begin:], catalog.names("runtime"), strict=False):
        name, formats = line.split(maxsplit=1)
        assert name == runtime
        found = {
            (precision, quantization)
            for part in formats.split("; ")
            for precision, words in [part.rstrip(")").split(" (")]
            for quantization in words.split(", ")
        }
        assert found == {
            (support.values["precision"], support.quantization)
            for support in number_formats(catalog, runtime, here)
            if support.refusal is None
        }
    reasons = {line.split("  ")[-1].strip() for line in lines[begin:] if line.startswith("--")}
    for runtime in catalog.names("runtime"):
        for support in number_formats(catalog, runtime, here):
            if support.lacking:
                assert any(str(support.refusal) in reason for reason in reasons)
    narrow = [line for line in lines if "keep 8-bit weights to 7 bits" in line]
    assert bool(narrow) == here.int8_products_saturate


def test_doctor_names_what_bounds_cores_and_memory(laptop: Hardware) -> None:
    catalog = builtin_catalog()
    plain = doctor_lines(laptop, catalog)
    assert plain[1].startswith("instruction sets: ")
    bounded = replace(
        laptop,
        cores=8,
        physical_cores=4,
        memory_mb=2048,
        limits=Limits(cores=8.5, memory_mb=2048),
    )
    assert doctor_lines(bounded, catalog)[1:4] == [
        "hyperthreads: each thread of a trial has one of 4 physical cores, as long as there are as "
        "many; trials share none",
        "CPU quota of this container: 8.5 cores",
        "memory limit of this container: 2,048 MB",
    ]
    throttled = replace(laptop, cores=1, limits=Limits(cores=0.5))
    assert doctor_lines(throttled, catalog)[1] == (
        "CPU quota of this container: 0.5 cores: even one thread is stopped from time to time"
    )


def test_a_plan_of_one_is_reported_in_the_singular(load: Callable[..., Experiment]) -> None:
    experiment = load(
        "space={runtime: [torch]}", "budget.trials=1", "confirmation={finalists: 1, rounds: 1}"
    )
    lines = plan_lines(experiment, experiment.space.enumerate())
    assert "space: 1 configuration, 1 can run here, 1 different model to build" in lines
    (plan,) = (line for line in lines if line.startswith("plan: "))
    assert plan.startswith("plan: 1 trial, ")
    assert "then 1 finalist measured again, 1 round in turns" in plan


def test_a_plan_without_confirmation_says_so(load: Callable[..., Experiment]) -> None:
    experiment = load("confirmation.finalists=0")
    lines = plan_lines(experiment, experiment.space.enumerate())
    assert any(line.endswith("sampler ehvi, no confirmation") for line in lines)


def test_failures_are_reported_by_cause_with_what_they_rule_out(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    failure: Callable[..., Evaluation],
) -> None:
    experiment = load()
    measured = {"throughput": 1.0, "peak_memory_mb": 1.0, "perplexity": 9.0, "quality_drop": 0.0}
    trials = [trial(0, experiment.baseline, **measured)]
    for number in range(1, 4):
        ended = trial(number, {"runtime": "openvino", "batch_size": number}, "failed")
        broken = replace(failure(), cause="crash", stage="measure")
        trials.append(replace(ended, evaluation=broken))
    lines = failure_lines(result_of(experiment, trials, Confirmation(rounds={})))
    assert lines == [
        f"failed at measure (crash): 001, 002, 003; see `tunefront show {experiment.path} 1`",
        "runtime=openvino: skipped, implied by trials 1, 2, 3 (3 of 3 failed: crash)",
    ]
    assert failure_lines(result_of(experiment, trials[:1], Confirmation(rounds={}))) == []


def test_picks_of_one_trial_are_reported_together(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    fast = {"throughput": 9.0, "peak_memory_mb": 9.0, "perplexity": 9.0, "quality_drop": 0.0}
    small = {"throughput": 1.0, "peak_memory_mb": 1.0, "perplexity": 9.1, "quality_drop": 1.0}
    trials = [trial(0, {"threads": 1}, **fast), trial(1, {"threads": 2}, **small)]
    lines = picks_lines(result_of(load("prefer=throughput"), trials, Confirmation(rounds={})))
    names = [line.split("  00")[0].strip() for line in lines[::2]]
    assert names == ["recommended, fastest, highest quality, knee", "smallest"]
    assert lines[1].strip() == "best throughput within limits"


def test_the_sign_of_a_tie_is_explained(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    same = {"throughput": 1.0, "peak_memory_mb": 1.0, "perplexity": 9.0, "quality_drop": 0.0}
    trials = [trial(number, {"batch_size": number + 1}, **same) for number in range(2)]
    result = result_of(load(), trials, Confirmation(rounds={}))
    assert ties_line(result) == "000 =1: tied with 001"
    alone = result_of(load(), trials[:1], Confirmation(rounds={}))
    assert ties_line(alone) == ""


def test_missed_limits_are_printed_with_units(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}
    only = trial(0, {"threads": 1}, latency_ms=12.3, quality_drop=0.0, **figures)
    limits = [
        Limit(metric="latency_ms", test="<=", bound=1.5),
        Limit(metric="perplexity", test="<=", bound=2.0),
        Limit(metric="throughput", test=">=", bound=1.0),
    ]
    result = result_of(load(), [only], Confirmation(rounds={}), limits)
    assert miss_lines(result) == [
        "no trial meets the limits; the nearest:",
        "  000 t1: latency_ms 12.3 ms (limit latency_ms <= 1.5 ms), "
        "perplexity 10 (limit perplexity <= 2)",
    ]


def test_a_trial_of_a_part_of_the_items_is_described(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
) -> None:
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}

    def lines(evaluated: int) -> list[str]:
        facts = {"evaluated_items": evaluated, "items": 320}
        only = trial(0, evaluation=replace(evaluation(**figures), facts=facts), **figures)
        return trial_lines(result_of(load(), [only], Confirmation(rounds={})), only)

    text = (
        "  quality of 40 of 320 items: perplexity is the baseline's, moved by the change on these "
        "items; no other metric of quality is known"
    )
    assert text in lines(40)
    assert not any("320 items" in line for line in lines(320))


def test_what_stands_in_brackets_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich would take it for markup, and leave it out."""
    print_table(table_of(["machine"], [["CPU [f00]"], ["a [red]word[/red]"]]))
    text = capsys.readouterr().out
    assert "CPU [f00]" in text
    assert "a [red]word[/red]" in text


ENGINES = [["000", "onnxruntime-genai", *["1,234.5"] * 24, "on the front; recommended"]] * 2
"""More columns than fit into 200 characters."""


def test_words_are_whole_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["trial", "runtime", *(f"metric_{place}" for place in range(24)), "role"]
    print_table(table_of(names, ENGINES))
    lines = capsys.readouterr().out.splitlines()
    words = {word for line in lines for word in line.split()}
    assert words >= {"onnxruntime-genai", "1,234.5", "recommended", *names}
    assert max(map(len, lines)) > 200


@pytest.mark.parametrize(("columns", "whole"), [(60, True), (30, False)])
def test_a_terminal_s_width_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, whole: bool
) -> None:
    """Nothing is cut off where a terminal is too narrow for all words: they are broken."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    row = ["onnxruntime-genai", "1,234.5", "a sentence with many words that can be wrapped"]
    print_table(table_of(["runtime", "output_rate", "text"], [row]))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) <= columns
    assert ("onnxruntime-genai" in printed) is whole
    wanted = Counter("".join(row)) - Counter(" ")
    assert not wanted - Counter(printed)


def test_a_value_that_is_worse_is_no_mismatch_and_says_why() -> None:
    def verified(*, outputs: bool, latency: bool) -> Verification:
        checks = (
            Check(name="outputs", holds=outputs, detail="d"),
            Check(name="latency_ms", holds=latency, detail="d"),
        )
        return Verification(folder=Path("f"), checks=checks, passed=outputs)

    def marks(verification: Verification) -> list[object]:
        return list(verification_table(verification).columns[1].cells)

    slow = verified(outputs=True, latency=False)
    assert marks(slow) == ["holds", "worse"]
    assert slow.remark().startswith("latency_ms: worse than recorded, which is no failure")
    assert verified(outputs=True, latency=True).remark() == ""
    wrong = verified(outputs=False, latency=False)
    assert marks(wrong) == ["DOES NOT HOLD", "worse"]
    assert wrong.remark() == ""
