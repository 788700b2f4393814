"""The built-in choices, runtimes and presets agree with each other."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.processors import PROCESSORS, hardware_with

from tunefront.evaluators import builtin_catalog
from tunefront.spaces import (
    EXPERIMENT,
    PRESETS,
    STAGES,
    Catalog,
    ChoiceKind,
    Condition,
    Configuration,
    Context,
    Default,
    Exclusion,
    Extension,
    Gpu,
    Requirement,
    SpaceError,
    Value,
    build_space,
    preset_space,
    supported_formats,
)
from tunefront.spaces.hardware import LIBRARIES

CATALOG = builtin_catalog()
CHOICES = CATALOG.kinds
RUNTIMES = CATALOG.names("runtime")
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_goes_by_its_own_name_and_has_a_stage(name: str) -> None:
    assert CHOICES[name].name == name
    assert CATALOG.stages[name] == CHOICES[name].stage
    assert CATALOG.stages[name] in STAGES


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_explains_itself(name: str) -> None:
    kind = CHOICES[name]
    assert kind.help.endswith(".")
    assert (
        kind.words and all(kind.words.values()) if kind.words is not None else kind.low < kind.high
    )


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
def test_a_runtime_supports_known_values_only(runtime: str) -> None:
    for name, values in CATALOG.extension(runtime).supports.items():
        for value in values or ():
            assert CATALOG.kind(name).check(value) == value


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_runs_the_plain_model_on_every_processor(runtime: str) -> None:
    for processor in PROCESSORS:
        found = supported_formats(CATALOG, runtime, hardware_with(processor))
        assert {"precision": "fp32", "quantization_bits": 16} in found
    assert "cpu" in (CATALOG.extension(runtime).supports["device"] or ())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_a_runtime_needs_is_detected_and_can_be_installed(runtime: str) -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    for needed in CATALOG.extension(runtime).requires:
        assert needed.name in LIBRARIES
        assert not needed.extra or needed.extra in extras


def test_every_value_of_the_formats_is_supported_by_some_runtime() -> None:
    supports = [CATALOG.extension(name).supports for name in RUNTIMES]
    bits = {value for one in supports for value in one["quantization_bits"] or ()}
    assert bits == {16, 8, 4}  # 3 and 2 bits are for engines that read such files
    methods = {value for one in supports for value in one.get("quantization_method") or ()}
    assert methods == set(CHOICES["quantization_method"].words or {})
    precisions = {value for one in supports for value in one["precision"] or ()}
    assert precisions == set(CHOICES["precision"].words or {})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_space_that_can_run(preset: str, context: Callable[..., Context]) -> None:
    space = build_space(PRESETS[preset], context(), CATALOG)
    assert {choice.name for choice in space.choices} == set(PRESETS[preset])
    assert space.enumerate().runnable


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_exactly_the_formats_of_every_processor(
    preset: str, processor: str, context: Callable[..., Context]
) -> None:
    here = context(isa=PROCESSORS[processor])
    space = build_space(PRESETS[preset], here, CATALOG)
    written = {choice.name: choice.values for choice in space.choices}
    device = str(written.get("device", ("cpu",))[0])
    names = ("precision", "quantization_bits", "quantization_method")
    tried = {
        (c["runtime"], *((n, c[n]) for n in names if n in c)) for c in space.enumerate().runnable
    }
    expected = {
        (runtime, *((n, values[n]) for n in names if n in values))
        for runtime in map(str, written["runtime"])
        for values in supported_formats(CATALOG, runtime, here.hardware, device=device)
        if all(value in written[name] for name, value in values.items())
    }
    assert tried == expected


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_lists_the_precisions_that_are_not_emulated(
    preset: str, processor: str, context: Callable[..., Context]
) -> None:
    """Nothing else is left out, and missing libraries change nothing."""
    here = context(isa=PROCESSORS[processor]).hardware
    found = preset_space(preset, CATALOG, here)
    assert {**found, "precision": None} == {**PRESETS[preset], "precision": None}
    bf16 = preset.startswith("cuda") or processor in ("avx512-bf16", "amx", "arm-bf16")
    written = PRESETS[preset]["precision"]
    assert isinstance(written, list)
    assert found["precision"] == [one for one in written if one != "bf16" or bf16]
    assert preset_space(preset, CATALOG, replace(here, libraries={})) == found


@pytest.mark.parametrize(("capability", "bf16"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_preset_for_gpus_has_bf16_and_tf32_where_all_of_them_have_them(
    capability: tuple[int, int], bf16: bool, context: Callable[..., Context]
) -> None:
    gpus = tuple(Gpu(name="A", memory_mb=1, capability=one) for one in ((9, 0), capability))
    found = preset_space("cuda-inference", CATALOG, context(gpus=gpus).hardware)
    assert found["precision"] == (["tf32", "bf16", "fp16"] if bf16 else ["fp32", "fp16"])


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
def test_tf32_needs_a_gpu_that_has_it(runtime: str, context: Callable[..., Context]) -> None:
    values: dict[str, Value] = {"runtime": runtime, "precision": "tf32"}
    here = context(gpus=(Gpu(name="A", memory_mb=1, capability=(7, 5)),)).hardware
    assert CATALOG.refusal(values, here) == (
        "tf32 is arithmetic of NVIDIA GPUs; on a processor choose fp32"
    )
    values["device"] = "cuda"
    assert CATALOG.refusal(values, here) == (
        "this GPU has no TF32 arithmetic (compute capability below 8.0): it would compute in fp32"
    )
    newer = replace(here, gpus=(replace(here.gpus[0], capability=(8, 0)),))
    assert CATALOG.refusal(values, newer) is None


@pytest.mark.parametrize(
    ("values", "older", "least", "reason"),
    [
        (
            {"runtime": "inductor", "precision": "fp16"},
            (6, 1),
            (7, 0),
            "Triton has no kernels for this GPU (compute capability below 7.0)",
        ),
        (
            {"runtime": "torch", "quantization_bits": 8, "quantization_method": "dynamic"},
            (7, 0),
            (7, 5),
            "this GPU has no int8 matrix products (compute capability below 7.5)",
        ),
        (
            {"runtime": "inductor", "quantization_bits": 8, "quantization_method": "dynamic"},
            (7, 0),
            (7, 5),
            "this GPU has no int8 matrix products (compute capability below 7.5)",
        ),
    ],
)
def test_a_claim_on_a_gpu_needs_its_capability(
    values: dict[str, Value],
    older: tuple[int, int],
    least: tuple[int, int],
    reason: str,
    context: Callable[..., Context],
) -> None:
    for capability, expected in ((older, reason), (least, None)):
        here = context(gpus=(Gpu(name="A", memory_mb=1, capability=capability),)).hardware
        assert CATALOG.refusal({**values, "device": "cuda"}, here) == expected


def test_inductor_computes_in_fp16_on_gpus_only(context: Callable[..., Context]) -> None:
    values: dict[str, Value] = {"runtime": "inductor", "precision": "fp16"}
    here = context().hardware
    assert CATALOG.refusal({**values, "device": "cuda"}, here) is None
    assert CATALOG.refusal(values, here) == "inductor computes in fp16 on GPUs only"
    quantized = {**values, "device": "cuda", "quantization_bits": 8}
    assert CATALOG.refusal(quantized, here) == "inductor does not quantize in fp16"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_other_runtimes_refuse_tf32(runtime: str, context: Callable[..., Context]) -> None:
    found = CATALOG.refusal({"runtime": runtime, "precision": "tf32"}, context().hardware)
    assert found is not None and found.startswith(f"{runtime} does not support precision tf32")


@pytest.mark.parametrize("preset", [name for name in PRESETS if name.startswith("cpu")])
def test_a_preset_for_the_processor_runs_without_gpus(
    preset: str, context: Callable[..., Context]
) -> None:
    found = build_space(PRESETS[preset], context(gpus=()), CATALOG).enumerate()
    assert found.runnable == build_space(PRESETS[preset], context(), CATALOG).enumerate().runnable


def test_an_unknown_choice_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpaceError) as caught:
        CATALOG.kind("quantisation_bits")
    assert str(caught.value) == (
        "unknown choice 'quantisation_bits'; did you mean 'quantization_bits'?"
    )


def kind(name: str, **fields: object) -> ChoiceKind:
    wanted: dict[str, object] = {"stage": "runtime", "default": 0, "help": "", "low": 0, "high": 9}
    return ChoiceKind(name=name, **{**wanted, **fields})  # type: ignore[arg-type]


WORDS = kind("runtime", default="a", words={"a": "the first"})
RUNTIME = Extension(name="b", values={"runtime": {"b": "the second"}}, short="bb")


def test_an_extension_adds_values_to_a_known_choice() -> None:
    found = Catalog([Extension(name="shared", choices=(WORDS,)), RUNTIME])
    assert dict(found.kind("runtime").words or {}) == {"a": "the first", "b": "the second"}
    assert found.label(Configuration({"runtime": "b"})) == "b"
    assert found.label(Configuration({"runtime": "b"}), narrow=True) == "bb"
    assert found.label(Configuration({"runtime": "a"})) == "defaults"


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        (
            [Extension(name="one", choices=(WORDS,)), Extension(name="two", choices=(WORDS,))],
            "extension two: choice runtime exists already",
        ),
        (
            [RUNTIME],
            "extension b: values can be added only to a known choice of words, but got 'runtime'",
        ),
        (
            [Extension(name="shared", choices=(WORDS,)), RUNTIME, RUNTIME],
            "extension b: runtime has the value 'b' already",
        ),
        (
            [
                Extension(name="x", provides={"measure": "module:name"}),
                Extension(name="x", provides={"measure": "module:other"}),
            ],
            "two extensions provide the measure 'x'",
        ),
        (
            [
                Extension(name="shared", choices=(WORDS,)),
                Extension(
                    name="b",
                    values={"runtime": {"b": "the second"}},
                    supports={"bit": frozenset({1})},
                ),
            ],
            "supports names the unknown choice 'bit'; known: runtime",
        ),
    ],
)
def test_extensions_that_contradict_each_other_are_refused(
    extensions: list[Extension], message: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        Catalog(extensions)
    assert str(caught.value) == message


def test_what_a_runtime_does_not_list_must_have_its_default(
    context: Callable[..., Context],
) -> None:
    bits = kind("bits")
    own = Extension(name="a", values={"runtime": {"a": ""}}, supports={"bits": frozenset({0, 4})})
    other = Extension(name="b", values={"runtime": {"b": ""}})
    shared = Extension(name="shared", choices=(kind("runtime", default="a", words={}), bits))
    free = Extension(name="free", choices=(kind("flag"),))
    catalog = Catalog([shared, own, other, free])
    listed = {"runtime": ["a", "b"], "bits": [0, 4, 8], "flag": [0, 1]}
    found = build_space(listed, context(), catalog).enumerate()
    assert {(c["runtime"], c["bits"]) for c in found.runnable} == {("a", 0), ("a", 4), ("b", 0)}
    assert {c["flag"] for c in found.runnable} == {0, 1}
    assert {drop.reason for drop in found.dropped} == {
        "a does not support bits 8; it supports 0, 4",
        "b does not support bits 4; it supports 0",
        "b does not support bits 8; it supports 0",
    }


def test_requirements_and_exclusions_apply_where_the_extension_is_active(
    context: Callable[..., Context],
) -> None:
    needed = Requirement(distribution="no-such-distribution", extra="extra")
    program = Requirement(executable="no-such-program")
    never = Exclusion(when=(Condition(choice="bits", test="==", operands=(4,)),), reason="never")
    shared = Extension(
        name="shared", choices=(kind("runtime", default="a", words={}), kind("bits"))
    )
    catalog = Catalog(
        [
            shared,
            Extension(name="a", values={"runtime": {"a": ""}}),
            Extension(name="b", values={"runtime": {"b": ""}}, requires=(needed, program)),
            Extension(name="c", values={"runtime": {"c": ""}}, excludes=(never,)),
        ]
    )
    listed = {"runtime": ["a", "b", "c"], "bits": [0, 4]}
    found = build_space(listed, context(), catalog).enumerate()
    runnable = {(c["runtime"], c["bits"]) for c in found.runnable}
    assert runnable == {("a", 0), ("a", 4), ("c", 0)}
    assert {drop.reason for drop in found.dropped} == {
        "no-such-distribution, no-such-program not installed; pip install 'tunefront[extra]'",
        "never",
    }
    assert [one.name for one in catalog.missing("b", context().hardware)] == [
        "no-such-distribution",
        "no-such-program",
    ]


def test_a_requirement_names_one_thing() -> None:
    with pytest.raises(SpaceError) as caught:
        Requirement(distribution="one", executable="two")
    assert str(caught.value) == (
        "a requirement names either a distribution or an executable, but got distribution='one', "
        "executable='two'"
    )


def test_what_is_provided_is_imported_on_use_and_must_be_written_in_full() -> None:
    extension = Extension(name="x", provides={"measure": "math:sqrt"})
    assert Catalog([extension]).provided("measure", "x") is __import__("math").sqrt
    with pytest.raises(SpaceError) as caught:
        Catalog([extension]).provided("measure", "y")
    assert str(caught.value) == "unknown measure 'y'; known: x"
    with pytest.raises(SpaceError) as caught:
        Extension(name="x", provides={"measure": "math"})
    assert str(caught.value) == (
        "extension x: provides.measure is written module:name, but got 'math'"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wrods": "x"}, "extension x: defaults names the unknown choice 'wrods'; known: bits"),
        ({"bits": "many"}, "extension x: defaults: bits: a number is needed, but got 'many'"),
    ],
)
def test_defaults_name_known_choices_and_values(values: dict[str, Value], message: str) -> None:
    default = Default(alternatives=(values,))
    with pytest.raises(SpaceError) as caught:
        Catalog([Extension(name="x", choices=(kind("bits"),), defaults=(default,))])
    assert str(caught.value) == message


def test_a_label_has_the_runtime_first_and_leaves_out_what_is_inactive_or_default() -> None:
    chosen: dict[str, Value] = {
        "pruning_ratio": 0.25,
        "pruning_method": "heads",
        "runtime": "openvino",
        "quantization_bits": 4,
        "quantization_method": "rtn",
        "group_size": 64,
        "batch_size": 8,
        "threads": 2,
    }
    configuration = Configuration(chosen)
    assert CATALOG.label(configuration) == "openvino w4 rtn g64 p0.25 heads b8 t2"
    assert CATALOG.label(configuration, narrow=True) == "ov w4 rtn g64 p0.25 heads b8 t2"
    assert CATALOG.label(CATALOG.complete({})) == "torch b1 t1"
    assert CATALOG.label(Configuration({"replicas": 1, "device": "cuda"})) == "cuda"


def test_outputs_depend_on_execution_choices_that_change_them() -> None:
    same = kind("speed", stage="execution", changes_outputs=False)
    other = kind("temperature", stage="execution")
    catalog = Catalog([Extension(name="x", choices=(kind("bits"), same, other))])
    complete = catalog.complete({"bits": 4, "speed": 2, "temperature": 1})
    assert catalog.outputs_of(complete) == Configuration({"bits": 4, "temperature": 1})


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("text", "a has the interface tensors, but task text needs generation"),
        ("vectors", None),
        ("training", None),
        ("unknown", None),
    ],
)
def test_a_runtime_needs_the_interface_of_the_task(
    task: str, reason: str | None, context: Callable[..., Context]
) -> None:
    catalog = Catalog(
        [
            Extension(name="shared", choices=(WORDS,)),
            Extension(
                name="text", interfaces=frozenset({"generation"}), provides={"workload": "m:T"}
            ),
            Extension(name="vectors", provides={"workload": "m:V"}),
            Extension(
                name="training", interfaces=frozenset({"other"}), provides={"pipeline": "m:P"}
            ),
            Extension(name="a"),
        ]
    )
    (rule,) = [rule for rule in catalog.rules if rule.name == "interface"]
    assert rule.reason(context(task), "a") == reason


def test_a_task_uses_its_own_choices_the_experiment_s_and_those_that_it_lists() -> None:
    catalog = Catalog(
        [
            Extension(name="shared", choices=(WORDS, kind("threads"))),
            Extension(
                name="training",
                choices=(kind("steps"),),
                uses=frozenset({"threads"}),
                provides={"pipeline": "m:P"},
            ),
            Extension(name="other", provides={"workload": "m:W"}),
            Extension(name=EXPERIMENT, choices=(kind("mine"),)),
        ]
    )
    assert catalog.used_by("training") == frozenset({"threads", "steps", "mine"})
    assert catalog.used_by("other") is None
    assert catalog.tasks == ("other", "training")


def test_the_runtimes_of_a_task_have_its_interface() -> None:
    assert "onnxruntime-genai" not in CATALOG.runtimes("custom")
    assert {"torch", "openvino"} <= set(CATALOG.runtimes("custom"))
    assert "onnxruntime-genai" in CATALOG.runtimes("text-generation")
    assert "torch" not in CATALOG.runtimes("text-generation")
