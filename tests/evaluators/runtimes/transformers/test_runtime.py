"""The engine `transformers`: the contract of engines, its choices, its script."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tunefront.evaluators import WorkloadSpec, builtin_catalog
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.interfaces.generation import generate
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.testing.cases import kept_below
from tunefront.evaluators.testing.generation import ENGINE_CHECKS, EngineCase
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration
from tunefront.spaces import EvaluationError, Value, detect_hardware

CATALOG = builtin_catalog()
CaseOf = Callable[..., EngineCase]


@pytest.fixture
def case_of(chat_spec: WorkloadSpec, tmp_path: Path) -> CaseOf:
    """Returns a case of the engine with some choices, and perhaps another checkpoint."""

    def make(checkpoint: Path | None = None, **choices: Value) -> EngineCase:
        workload = TextGeneration(chat_spec)
        (tmp_path / "built").mkdir(exist_ok=True)
        return EngineCase(
            catalog=CATALOG,
            runtime=runtime_of(CATALOG, "transformers"),
            configuration=CATALOG.complete({"runtime": "transformers", **choices}),
            source=Source(
                module=workload.load_module,
                shared=partial(kept_below, tmp_path / "shared"),
                hardware=detect_hardware(),
                prompts=workload.requests(1, 4),
                unchanged=checkpoint or workload.checkpoint(),
            ),
            folder=tmp_path / "built",
        )

    return make


@pytest.mark.parametrize("check", ENGINE_CHECKS)
def test_it_keeps_the_contract(case_of: CaseOf, check: Callable[[EngineCase], None]) -> None:
    check(case_of(attention_implementation="eager", max_batch=2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_checkpoint_has_the_precision(case_of: CaseOf, precision: str) -> None:
    """A rule leaves bf16 out on a processor without its instructions, but torch runs it."""
    case = case_of(precision=precision)
    endpoint = case.open()
    facts = endpoint.facts()
    assert facts["precision"] == precision
    assert facts["weight_bits"] == {"fp32": 32, "bf16": 16}[precision]
    assert facts["attention_implementation"] == "sdpa"
    assert int(facts["parameters"]) > 50_000
    generate(endpoint, case.source.prompts)
    endpoint.close()


def test_a_model_with_its_own_code_is_refused(
    case_of: CaseOf, chat_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(chat_folder / "model", tmp_path / "own")
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "mine.Model"}
    (tmp_path / "own" / "config.json").write_text(json.dumps(config))
    with pytest.raises(EvaluationError, match="needs code that comes with it") as found:
        case_of(tmp_path / "own").built  # noqa: B018
    assert found.value.cause == "unsupported"


def test_a_checkpoint_that_cannot_be_loaded_is_refused(case_of: CaseOf, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unknown"}')
    with pytest.raises(EvaluationError, match="transformers: ") as found:
        case_of(tmp_path).built  # noqa: B018
    assert found.value.cause == "unsupported"


@pytest.mark.parametrize("lookup", [0, 3])
def test_the_script_generates_the_same_tokens(case_of: CaseOf, tmp_path: Path, lookup: int) -> None:
    case = case_of(prompt_lookup_tokens=lookup)
    endpoint = case.open()
    (expected,) = generate(endpoint, case.source.prompts[:1])
    deployment = case.runtime.deployment(case.built, case.configuration)
    assert deployment is not None
    prompt = list(case.source.prompts[0].prompt)
    calls = f"\nimport json\nprint(json.dumps(run(load(), {prompt}, {len(expected.tokens)})))\n"
    (case.folder / "run.py").write_text(deployment.script + calls)
    ran = subprocess.run(
        [sys.executable, "-I", case.folder / "run.py"], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == list(expected.tokens)
