"""A tiny language model whose vocabulary has another size than its layers, built once a session."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.interfaces.generation import GenerationRequest
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.testing.cases import kept_below
from tunefront.evaluators.testing.generation import EngineCase
from tunefront.spaces import Value, detect_hardware

CATALOG = builtin_catalog()
VOCABULARY = 80
CONTEXT = 256
NEW_TOKENS = 8
PROMPTS: tuple[tuple[int, ...], ...] = ((5, 6, 7, 8), (9, 10), (11, 12, 13, 14, 15, 16, 17), (1, 2))
"""Prompts of several lengths; the last one holds the ids that pad and end texts."""
ChoicesCase = Callable[..., EngineCase]
Greedy = Callable[[Sequence[int], int], list[int]]


def write_model(folder: Path, lm_folder: Path, vocabulary: int = VOCABULARY) -> Path:
    """Write a tiny Llama with random weights and the tokenizer of the tests' language model."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=2,
        tie_word_embeddings=False,
        initializer_range=0.2,  # wider: the next token depends on what stands before it
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(lm_folder / "model" / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def checkpoint(lm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("engine-model"), lm_folder)


def source_of(checkpoint: Path, shared: Path) -> Source:
    return Source(
        module=lambda: pytest.fail("an engine must not load the torch module"),
        shared=partial(kept_below, shared),
        hardware=detect_hardware(),
        prompts=[GenerationRequest(prompt=one, new_tokens=NEW_TOKENS) for one in PROMPTS],
        unchanged=checkpoint,
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home, in which models are built."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("XDG_CACHE_HOME", raising=False)
        yield folder


@pytest.fixture(scope="session")
def engine(checkpoint: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> ChoicesCase:
    """Returns the case of a number format; a format is built once a session, 9 s of CPU time."""
    shared = tmp_path_factory.mktemp("shared")

    @cache
    def folder(*format_: tuple[str, Value]) -> tuple[Path, EngineCase]:
        made = tmp_path_factory.mktemp("built")
        configuration = CATALOG.complete({"runtime": "onnxruntime-genai", **dict(format_)})
        runtime = runtime_of(CATALOG, "onnxruntime-genai")
        case = EngineCase(CATALOG, runtime, configuration, source_of(checkpoint, shared), made)
        return made, case

    def make(*, execution: dict[str, Value] | None = None, **format_: Value) -> EngineCase:
        made, first = folder(*sorted(format_.items()))
        if not execution:
            return first
        built = first.built
        values = {**first.configuration, **execution}
        case = EngineCase(CATALOG, first.runtime, CATALOG.complete(values), first.source, made)
        vars(case)["built"] = built
        return case

    return make


@pytest.fixture(scope="session")
def greedy(checkpoint: Path) -> Greedy:
    """The most likely tokens by transformers in fp32, computed without a cache."""
    import torch
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(checkpoint)

    @cache
    def found(prompt: tuple[int, ...], count: int) -> list[int]:
        ids = list(prompt)
        for _ in range(count):
            with torch.no_grad():
                ids.append(int(module(torch.tensor([ids])).logits[0, -1].argmax()))
        return ids[len(prompt) :]

    return lambda prompt, count: list(found(tuple(prompt), count))
