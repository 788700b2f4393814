"""Experiments: what a file becomes, and every refusal with its place, its value and its rule."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.search import Experiment, Limit, Objective, load_experiment
from tunefront.search.experiment.sections.workload import PREPARED
from tunefront.spaces import (
    PRESETS,
    Configuration,
    ExperimentError,
    Gpu,
    Hardware,
    TunefrontError,
    detect_hardware,
)

Load = Callable[..., Experiment]

SMALLEST = """\
name: small
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space: {threads: [1, 2]}
objectives: {throughput: maximize}
"""
CUSTOM = """\
name: own
workload: {task: custom, model: "own:model", inputs: "own:inputs", quality: "own:score"}
space: {threads: [1, 2]}
objectives: {score: maximize}
"""


def values_of(experiment: Experiment, name: str) -> tuple[object, ...]:
    return next(choice.values for choice in experiment.space.choices if choice.name == name)


def refusal(load: Load, *overrides: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        load(*overrides)
    return re.sub(r"(?m)^\S*/experiment\.yaml", "FILE", str(caught.value))


def test_a_file_becomes_an_experiment(load: Load) -> None:
    experiment = load()
    assert experiment.name == "Made up"
    assert experiment.workload.model == "nowhere"
    assert experiment.workload.folder == str(experiment.path.parent)
    assert [choice.name for choice in experiment.space.choices] == [
        "runtime",
        "batch_size",
        "threads",
    ]
    assert experiment.objectives == (
        Objective(metric="throughput", direction="maximize"),
        Objective(metric="peak_memory_mb", direction="minimize"),
    )
    assert experiment.limits == (Limit(metric="quality_drop", test="<=", bound=5.0),)


def test_what_a_file_leaves_out_has_a_default(load: Load) -> None:
    experiment = load(text=SMALLEST)
    assert (experiment.budget.trials, experiment.budget.hours) == (60, 8)
    assert (experiment.sampler, experiment.seed) == ("ehvi", 0)
    assert (experiment.protocol.seconds, experiment.protocol.wait_s) == (5.0, 60.0)
    assert (experiment.protocol.turns, experiment.protocol.precision) == (7, 0.03)
    assert experiment.protocol.reference and experiment.early_stop
    assert experiment.price_per_hour is None
    assert experiment.confirmation.share == 0.15
    assert experiment.timeouts.build_s == 1800
    assert (experiment.confirmation.finalists, experiment.confirmation.rounds) == (8, 3)
    assert experiment.limits == ()
    assert experiment.prepare is None


def test_a_budget_that_is_given_replaces_the_default_whole(load: Load) -> None:
    budget = load("budget.trials=5").budget
    assert (budget.trials, budget.hours) == (5, None)


def test_sections_reach_the_experiment(load: Load) -> None:
    experiment = load(
        *("timeouts.quality=7", "confirmation.rounds=5", "confirmation.share=0.3", "sampler=grid"),
        *("measurement.seconds=2", "measurement.turns=9", "measurement.wait=0"),
        *("measurement.reference=false", "measurement.early_stop=false", "price_per_hour=0.5"),
    )
    assert (experiment.protocol.turns, experiment.protocol.wait_s) == (9, 0.0)
    assert not experiment.protocol.reference
    assert not experiment.early_stop
    assert experiment.price_per_hour == 0.5
    assert experiment.confirmation.share == 0.3
    assert experiment.protocol.seconds == 2
    assert experiment.timeouts.quality_s == 7
    assert experiment.confirmation.rounds == 5
    assert experiment.sampler == "grid"


def test_results_lie_next_to_the_file_under_the_name(load: Load) -> None:
    experiment = load()
    assert experiment.slug == "made-up"
    assert experiment.results == experiment.path.parent / "results" / "made-up"


def test_an_experiment_may_be_named_by_its_folder(load: Load, laptop: Hardware) -> None:
    path = load().path
    assert load_experiment(path.parent, hardware=laptop) == load_experiment(path, hardware=laptop)


def test_without_made_up_hardware_this_machine_is_planned_for(load: Load) -> None:
    experiment = load_experiment(load(text=SMALLEST).path, ["space.threads=1"])
    assert experiment.space.context.hardware == detect_hardware()


def test_the_primary_metric_is_the_workloads_first(load: Load) -> None:
    assert load().primary.name == "perplexity"
    assert load(text=CUSTOM).primary.name == "score"


def test_metrics_are_the_measured_ones_the_workloads_and_the_drop(load: Load) -> None:
    metrics = load().metrics
    assert {"throughput", "peak_memory_mb", "perplexity", "quality_drop"} <= set(metrics)
    assert all(metrics[name].name == name for name in metrics)


def test_a_custom_workload_names_its_own_metric(load: Load) -> None:
    experiment = load("workload.metric=mae", "objectives={mae: minimize}", text=CUSTOM)
    assert experiment.objectives == (Objective(metric="mae", direction="minimize"),)
    assert experiment.primary.direction == "minimize", "as the objective says"


@pytest.mark.parametrize(("limit", "direction"), [("<= 2", "minimize"), (">= 2", "maximize")])
def test_a_custom_metric_s_direction_follows_from_a_limit(
    limit: str, direction: str, load: Load
) -> None:
    experiment = load(
        "workload.metric=mae",
        "objectives={throughput: maximize}",
        f"limits={{mae: '{limit}'}}",
        text=CUSTOM,
    )
    assert experiment.primary.direction == direction


def test_a_custom_metric_s_direction_is_asked_for_where_nothing_says_it(load: Load) -> None:
    told = "workload.direction: is missing: write minimize or maximize, whichever is better for mae"
    with pytest.raises(ExperimentError, match=told):
        load("workload.metric=mae", "objectives={throughput: maximize}", "limits={}", text=CUSTOM)


GENERATION = """\
name: judged
workload: {task: text-generation, model: nowhere, data: p.jsonl, quality: "own:score", metric: tone}
space: {runtime: [transformers], threads: [1, 2]}
objectives: {tpot_ms: minimize}
limits: {tone: "<= 2"}
"""


def test_generated_text_can_be_scored_by_an_own_metric(load: Load, laptop: Hardware) -> None:
    able = replace(laptop, libraries={**laptop.libraries, "transformers": "5.3"})
    experiment = load(text=GENERATION, hardware=able)
    assert (experiment.primary.name, experiment.primary.direction) == ("tone", "minimize")
    told = "workload.direction: is missing: write minimize or maximize, whichever is better for ton"
    with pytest.raises(ExperimentError, match=told):
        load("limits={}", text=GENERATION, hardware=able)


def test_generated_text_can_be_scored_by_a_command(load: Load, laptop: Hardware) -> None:
    able = replace(laptop, libraries={**laptop.libraries, "transformers": "5.3"})
    text = GENERATION.replace('"own:score"', '{command: "judge.py {url}/v1"}')
    experiment = load(text=text, hardware=able)
    assert experiment.workload.quality_command == "judge.py {url}/v1"
    assert (experiment.primary.name, experiment.primary.direction) == ("tone", "minimize")
    with pytest.raises(ExperimentError, match=r"workload: quality.command: \{url\}, the address"):
        load(text=text.replace("{url}", "url"), hardware=able)


GPU_MACHINE = Gpu(name="Made-up GPU", memory_mb=1, capability=(9, 0))
WHY_NOT = {
    "cost_per_million_items": "it needs the key price_per_hour",
    "cost_per_million_tokens": "it needs the key price_per_hour",
    "energy_per_item": "this machine has no energy counter that this user may read (RAPL, NVML)",
    "gpu_allocated_mb": "this machine has no GPU",
    "gpu_device_mb": "this machine has no GPU",
    "gpu_memory_mb": "this machine has no GPU",
}


@pytest.fixture
def no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunefront.evaluators.measures.energy.energy_is_counted", lambda: False)


@pytest.mark.usefixtures("no_counter")
@pytest.mark.parametrize("name", WHY_NOT)
def test_a_metric_that_is_not_measured_here_says_why(load: Load, name: str) -> None:
    assert name not in load().metrics
    assert refusal(load, f"objectives.{name}=minimize") == (
        f"--set objectives.{name}: no measure produces {name!r} for causal-lm; {WHY_NOT[name]}"
    )
    assert refusal(load, f"limits.{name}='<= 5'") == (
        f"--set limits.{name}: unknown metric {name!r}; {WHY_NOT[name]}"
    )


@pytest.mark.parametrize("name", ["cost_per_million_items", "cost_per_million_tokens"])
def test_a_price_makes_costs_of_speed(load: Load, name: str) -> None:
    experiment = load("price_per_hour=2", f"objectives.{name}=minimize", f"limits.{name}='<= 5'")
    assert experiment.objectives[-1] == Objective(metric=name, direction="minimize")
    assert experiment.metrics[name].direction == "minimize"


def test_a_counter_makes_energy_a_metric(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunefront.evaluators.measures.energy.energy_is_counted", lambda: True)
    experiment = load("objectives.energy_per_item=minimize")
    assert experiment.metrics["energy_per_item"].unit == "J"


def test_a_gpu_makes_its_memory_a_metric(load: Load, laptop: Hardware) -> None:
    machine = replace(laptop, gpus=(GPU_MACHINE,))
    overrides = ["objectives.gpu_memory_mb=minimize"]
    experiment = load_experiment(load().path, overrides, hardware=machine)
    assert {"gpu_memory_mb", "gpu_device_mb", "gpu_allocated_mb"} <= set(experiment.metrics)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name.startswith("cpu")])
def test_a_preset_is_a_space(load: Load, preset: str) -> None:
    experiment = load(f"space={{preset: {preset}}}", "baseline.quantization_bits=16")
    names = {choice.name for choice in experiment.space.choices}
    assert names == {*PRESETS[preset], "quantization_bits"}


def test_a_preset_has_no_precision_that_would_be_emulated(load: Load, laptop: Hardware) -> None:
    """What is written next to it stays, and is left out with its reason."""
    old = replace(laptop, isa=frozenset({"avx2"}))
    experiment = load("space={preset: cpu-latency}", hardware=old)
    assert values_of(experiment, "precision") == ("fp32",)
    experiment = load("space={preset: cpu-latency, precision: [fp32, bf16]}", hardware=old)
    assert values_of(experiment, "precision") == ("fp32", "bf16")
    reasons = {drop.reason for drop in experiment.space.enumerate().dropped}
    assert "this processor has no bf16 instructions: it would be emulated" in reasons


def test_what_stands_next_to_a_preset_overrules_it(load: Load) -> None:
    experiment = load("space={preset: cpu-latency, threads: [2], replicas: [1, 2]}")
    assert values_of(experiment, "threads") == (2,)
    assert values_of(experiment, "replicas") == (1, 2)
    assert values_of(experiment, "batch_size") == (1,)


def test_ranges_are_written_out(load: Load) -> None:
    experiment = load(
        "space.batch_size={low: 1, high: 8, log: true}", "space.threads={low: 1, high: 3}"
    )
    assert values_of(experiment, "batch_size") == (1, 2, 4, 8)
    assert values_of(experiment, "threads") == (1, 2, 3)


def test_conditions_keep_choices_for_where_they_matter(load: Load) -> None:
    experiment = load("space.threads={values: [1, 2], when: {batch_size: '> 1'}}")
    assert len(experiment.space.enumerate().runnable) == 2 * 1 + 2 * 2


def test_the_baseline_is_made_of_defaults_where_it_is_not_given(load: Load) -> None:
    assert load().baseline.label() == "runtime=torch batch_size=1 threads=1"
    given_threads = load("baseline.threads=2").baseline
    assert given_threads.label() == "runtime=torch batch_size=1 threads=2"


def test_the_baseline_may_lie_outside_the_listed_values(load: Load) -> None:
    experiment = load("baseline.threads=4")
    assert experiment.baseline["threads"] == 4
    assert values_of(experiment, "threads") == (1, 2)
    assert experiment.baseline not in experiment.space.enumerate().runnable


def test_what_only_the_baseline_names_holds_for_every_trial(load: Load) -> None:
    experiment = load("baseline.precision=bf16")
    assert values_of(experiment, "precision") == ("bf16",)
    assert {c["precision"] for c in experiment.space.enumerate().runnable} == {"bf16"}


def test_inactive_choices_are_no_part_of_the_baseline(load: Load) -> None:
    experiment = load("space.pruning_ratio=[0, 0.5]", "space.pruning_method=[layers]")
    assert experiment.baseline == Configuration(
        {"pruning_ratio": 0.0, "runtime": "torch", "batch_size": 1, "threads": 1}
    )


ON_GPU = "baseline={device: cuda}"
MIXED = "space={device: [cpu, cuda]}"


@pytest.mark.parametrize(
    ("cores", "gpus", "written", "trials"),
    [
        (8, 0, [], 4),
        (1, 0, [], 1),
        (8, 2, [], 4),  # no configuration uses a GPU
        (8, 2, [ON_GPU], 2),
        (8, 2, [MIXED], 2),
    ],
)
def test_trials_run_one_a_gpu_or_on_half_the_cores(
    load: Load, laptop: Hardware, cores: int, gpus: int, written: list[str], trials: int
) -> None:
    gpu = Gpu(name="Made-up GPU", memory_mb=1, capability=(9, 0))
    machine = replace(laptop, cores=2 * cores, physical_cores=cores, gpus=(gpu,) * gpus)
    experiment = load_experiment(load(text=SMALLEST).path, written, hardware=machine)
    assert experiment.concurrent_trials == trials
    given_number = load_experiment(experiment.path, ["concurrent_trials=3"], hardware=machine)
    assert given_number.concurrent_trials == 3


def test_a_home_folder_in_data_is_found(load: Load) -> None:
    assert load("workload.data=~/texts.jsonl").workload.data == str(Path.home() / "texts.jsonl")


def test_prepared_paths_lie_in_the_folder_the_script_fills(load: Load) -> None:
    path = load().path
    script = path.parent / "prepare.py"
    script.write_text("print('made')")
    overrides = ["prepare=prepare.py", f"workload.model={PREPARED}/model"]
    experiment = load_experiment(path, overrides)
    assert experiment.prepare is not None and experiment.prepare.script == script
    assert experiment.workload.model == f"{experiment.prepare.folder}/model"
    assert experiment.workload.data == "nowhere.jsonl"


def test_another_script_fills_another_folder(load: Load) -> None:
    path = load().path
    script = path.parent / "prepare.py"
    folders: list[Path] = []
    for text in ("print(1)", "print(2)", "print(1)"):
        script.write_text(text)
        prepare = load_experiment(path, ["prepare=prepare.py"]).prepare
        assert prepare is not None
        folders.append(prepare.folder)
    assert folders[0] == folders[2] != folders[1]


def test_a_smoke_run_is_cut_down_and_kept_apart(load: Load) -> None:
    experiment = load(smoke=True)
    assert experiment.smoke
    assert experiment.results.name == "made-up-smoke"
    assert experiment.workload.items == 16
    assert (experiment.protocol.seconds, experiment.protocol.turns) == (0.5, 3)
    assert experiment.confirmation.finalists == 0
    assert experiment.budget.hours == 0.5


def test_a_smoke_run_is_short_whatever_is_asked_for(load: Load) -> None:
    assert load("budget.hours=9", smoke=True).budget.hours == 0.5


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "workload.architecture=decodr",
            "--set workload.architecture: unknown value 'decodr'; did you mean 'decoder'?",
        ),
        (
            "workload.architecture=decoder",
            "FILE:2: workload: architecture: only task custom declares it, but the task is "
            "causal-lm, which has its own; remove the key",
        ),
        ("space.preset=[1]", "--set space.preset: unknown preset [1]; known: cpu-inference, "),
        (
            "space.runtime=[{a: b}, [1]]",
            "--set space.runtime: unknown value {'a': 'b'}; known: ",
        ),
        ("space.threads=[[1]]", "--set space.threads: a number is needed, but got [1]"),
        (
            "baseline.runtime={a: b}",
            "--set baseline.runtime: unknown value {'a': 'b'}; known: ",
        ),
        ("baseline.threads=[1]", "--set baseline.threads: a number is needed, but got [1]"),
        (
            "space.mine={stage: model, values: [1, .inf]}",
            "--set space.mine: a finite number is needed, but got inf",
        ),
        ("space.preset=cpu", "--set space.preset: unknown preset 'cpu'; known: cpu-inference, "),
        ("space.preset=cpu-smal", "--set space.preset: unknown preset 'cpu-smal'; did you mean "),
        ("space.thread=[1]", "--set space.thread: unknown choice 'thread'; did you mean 'thread"),
        (
            "space.threads=[1, 0]",
            "--set space.threads: `1 <= threads <= 1024` must hold, but got 0",
        ),
        (
            "space.runtime=[torch, openvin]",
            "--set space.runtime: unknown value 'openvin'; did you mean 'openvino'?",
        ),
        (
            "space.threads=[2, 2]",
            "--set space.threads: values must differ, but got [2, 2]; remove the repeated one",
        ),
        ("space.threads=[]", "--set space.threads: at least one value is needed, but got none"),
        (
            "space.threads={values: [1], when: {runtime: []}}",
            "--set space.threads: when: runtime must be a value, a list of values or ",
        ),
        (
            "space.threads={values: [1], when: {runtim: torch}}",
            "FILE:6: space: threads: when names the unknown choice 'runtim'; did you mean 'runtime",
        ),
        (
            "space.threads={values: [1], when: {runtime: tensorrt}}",
            "--set space.threads: runtime: ",
        ),
        (
            "space.threads={values: [1], when: {threads: 1}}",
            "FILE:6: space: when: conditions must not form a circle, but got one among threads",
        ),
        ("space={}", "--set space: at least one choice is needed, but got none"),
        (
            "baseline.thread=1",
            "--set baseline.thread: unknown choice 'thread'; did you mean 'threads'?",
        ),
        (
            "baseline.precision=fp23",
            "--set baseline.precision: unknown value 'fp23'; did you mean 'fp32'?",
        ),
        (
            "baseline.device=cuda",
            "FILE: baseline: can't run here: no GPU is visible "
            "(runtime=torch device=cuda batch_size=1 threads=1)",
        ),
        (
            "baseline.threads=16",
            "FILE: baseline: can't run here: 16 threads = 16 cores, but this machine offers 8 "
            "(runtime=torch batch_size=1 threads=16)",
        ),
        ("objectives={}", "--set objectives: at least one objective is needed, but got none"),
        (
            "objectives.latency=minimize",
            "--set objectives.latency: no measure produces 'latency' for causal-lm; "
            "did you mean 'latency_ms'?",
        ),
        (
            "objectives.accuracy=maximize",
            "--set objectives.accuracy: no measure produces 'accuracy' for causal-lm; known: ",
        ),
        ("prefer=latency", "--set prefer: unknown metric 'latency'; did you mean 'latency_ms'?"),
        (
            "limits.latency='<= 5'",
            "--set limits.latency: unknown metric 'latency'; did you mean 'latency_ms'?",
        ),
        (
            "limits.quality_drop=5",
            "--set limits.quality_drop: a limit is written '<= NUMBER' or '>= NUMBER', but got 5",
        ),
        (
            "limits.quality_drop='>= 2'",
            "--set limits.quality_drop: >= 2 refuses the better values: lower quality_drop is "
            "better; write '<= NUMBER'",
        ),
        (
            "limits.latency_ms='<= -1'",
            "--set limits.latency_ms: no value can keep latency_ms <= -1: latency_ms is at least 0",
        ),
        (
            "objectives.throughput=minimize",
            "--set objectives.throughput: minimize contradicts the metric, of which higher "
            "values are better; write maximize",
        ),
        (
            "workload.model=${prepared}/model",
            "--set workload.model: ${prepared} needs a script below the key prepare",
        ),
        (
            "workload.calibration=${prepared}/texts",
            "--set workload.calibration: ${prepared} needs a script below the key prepare",
        ),
    ],
)
def test_what_can_not_stand_is_refused_with_its_place(
    load: Load, override: str, expected: str
) -> None:
    assert refusal(load, override).startswith(expected)


def test_a_missing_script_is_refused(load: Load) -> None:
    text = refusal(load, "prepare=nowhere.py")
    assert re.fullmatch(
        r"--set prepare: /\S+/nowhere\.py does not exist; name a Python script", text
    )


def test_a_workload_without_its_data_is_refused(load: Load) -> None:
    text = refusal(load, "workload.data=null")
    assert text.startswith("FILE:2: workload: ")
    assert text.endswith("task causal-lm needs 'data', but it is missing")


EXTENSION = """\
from tunefront.spaces import ChoiceKind, Extension

EXTENSION = Extension(
    name="beams",
    choices=(
        ChoiceKind(
            name="beams", stage="execution", default=1, help="Beams.", low=1, high=8, whole=True
        ),
    ),
)
"""


def test_an_extension_file_adds_its_choices(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "beams_for_tests.py"
    file.write_text(EXTENSION)
    experiment = load(f"extensions=[{file}]", "space.beams=[1, 4]")
    assert values_of(experiment, "beams") == (1, 4)
    assert experiment.workload.extensions == (str(file),)
    assert "beams" in experiment.space.catalog.kinds


def test_an_extension_that_can_not_be_read_is_refused(load: Load, tmp_path: Path) -> None:
    empty = tmp_path / "empty_for_tests.py"
    empty.write_text("")
    text = refusal(load, f"extensions=[{empty}]")
    assert text.startswith(f"--set extensions: {empty} defines no Extension at module level")
    text = refusal(load, "extensions=[nowhere.py]")
    assert re.match(r"--set extensions: /\S+/nowhere\.py is not a Python file", text)


def test_a_choice_is_declared_with_its_values_and_its_stage(load: Load) -> None:
    experiment = load("space.beams={values: [1, 4], stage: execution}")
    assert values_of(experiment, "beams") == (1, 4)
    assert experiment.space.catalog.stages["beams"] == "execution"
    assert experiment.workload.declared == {"beams": {"values": [1, 4], "stage": "execution"}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "space.beams={values: [1], stage: later}",
            "--set space.beams: stage must be one of model, runtime, execution, but got 'later'",
        ),
        (
            "space.threads={values: [1], stage: execution}",
            "--set space.threads: threads is a choice of the catalogue and has its stage; "
            "list its values, or declare the choice under another name",
        ),
    ],
)
def test_a_declaration_that_is_wrong_is_refused_with_its_place(
    load: Load, override: str, expected: str
) -> None:
    assert refusal(load, override) == expected


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="does not exist; name an experiment file"):
        load_experiment(tmp_path / "nowhere.yaml")


@given(st.text(max_size=30))
def test_any_text_is_an_experiment_or_an_error_of_ours(load: Load, text: str) -> None:
    with pytest.raises(ExperimentError):
        load(text=text.replace("\x00", ""))


@given(
    st.sampled_from(["space.threads", "space.batch_size", "limits.latency_ms", "objectives.score"]),
    st.integers(-9, 9) | st.booleans() | st.none() | st.text("ab0<=>-. %", max_size=6),
)
def test_any_value_is_an_experiment_or_an_error_of_ours(
    load: Load, key: str, value: object
) -> None:
    try:
        load(f"{key}={value!r}" if isinstance(value, str) else f"{key}={value}")
    except TunefrontError as error:
        assert isinstance(error, ExperimentError)
