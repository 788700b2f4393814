"""Random small workloads: check, build and quality agree with a reference that uses torch alone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.evaluators.workloads.test_model_folder import WORDS, write_tokenizer

from tunefront.evaluators import WorkloadSpec, builtin_catalog
from tunefront.evaluators.pipelines.tasks.build import BuildRequest, build, outputs_key
from tunefront.evaluators.pipelines.tasks.describe import DescribeRequest, describe
from tunefront.evaluators.pipelines.tasks.model_stage import ModelStage
from tunefront.evaluators.pipelines.tasks.quality import QualityRequest, write_candidate_quality
from tunefront.evaluators.store.store import Store
from tunefront.evaluators.workloads.quality import read_metrics

SEEDS = [seed if seed < 2 else pytest.param(seed, marks=pytest.mark.soak) for seed in range(24)]
NAMES = ("no", "yes", "maybe")


@dataclass(frozen=True)
class Drawn:
    """A random workload: its description, rows of data, and reference value of its metric."""

    spec: WorkloadSpec
    rows: Sequence[dict[str, object]]
    reference: Callable[[], tuple[str, float]]


def words(random: np.random.Generator, most: int = 9) -> str:
    return " ".join(random.choice(WORDS, size=random.integers(2, most)))


def ids_of(folder: Path, text: object) -> torch.Tensor:
    tokenizer: Any = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    return torch.tensor([tokenizer(str(text))["input_ids"]])


def classification(random: np.random.Generator, folder: Path) -> Drawn:
    """Labels written as numbers, texts or names of classes."""
    config = transformers.BertConfig(**sizes(random), id2label=dict(enumerate(NAMES)))
    model: Any = transformers.BertForSequenceClassification(config)
    model.eval().save_pretrained(folder / "model")
    labels = random.integers(0, 3, 12).tolist()
    written = [random.choice([n, float(n), str(n), NAMES[n]]).item() for n in labels]
    rows: list[dict[str, object]] = [{"text": words(random), "label": one} for one in written]

    def reference() -> tuple[str, float]:
        found = [int(model(ids_of(folder / "model", r["text"])).logits.argmax()) for r in rows]
        return "accuracy", float(np.mean(np.equal(found, labels)))

    return Drawn(spec_of("text-classification", folder), rows, reference)


def embedding(random: np.random.Generator, folder: Path) -> Drawn:
    """Pooled as modules.json describes it."""
    model: Any = transformers.BertModel(transformers.BertConfig(**sizes(random)))
    model.eval().save_pretrained(folder / "model")
    mode = str(random.choice(["cls", "mean", "max"]))
    (folder / "model" / "1_Pooling").mkdir()
    (folder / "model" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    listed = [{"idx": 0, "path": "", "type": "a.Transformer"}]
    listed.append({"idx": 1, "path": "1_Pooling", "type": "a.Pooling"})
    (folder / "model" / "modules.json").write_text(json.dumps(listed))
    rows: list[dict[str, object]] = [
        {"query": words(random, 4), "document": f"{words(random)} {WORDS[place]}"}
        for place in range(10)
    ]

    def vector(text: object) -> torch.Tensor:
        states = model(ids_of(folder / "model", text)).last_hidden_state[0]
        pooled = {"cls": states[0], "mean": states.mean(0), "max": states.amax(0)}[mode]
        return torch.nn.functional.normalize(pooled, dim=0)

    def reference() -> tuple[str, float]:
        documents = torch.stack([vector(row["document"]) for row in rows])
        scores = torch.stack([vector(row["query"]) for row in rows]) @ documents.T
        nearest = scores.argmax(1)
        return "recall_at_1", float((nearest == torch.arange(len(rows))).float().mean())

    return Drawn(spec_of("text-embedding", folder), rows, reference)


def language_model(random: np.random.Generator, folder: Path) -> Drawn:
    config = transformers.LlamaConfig(
        **sizes(random), num_key_value_heads=1, tie_word_embeddings=bool(random.integers(2))
    )
    model: Any = transformers.LlamaForCausalLM(config)
    model.eval().save_pretrained(folder / "model")
    rows: list[dict[str, object]] = [{"text": words(random, 14)} for _ in range(10)]

    def reference() -> tuple[str, float]:
        total, count = 0.0, 0
        for row in rows:
            ids = ids_of(folder / "model", row["text"])
            logits = model(ids).logits[0, :-1]
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
        return "perplexity", float(np.exp(total / count))

    return Drawn(spec_of("causal-lm", folder), rows, reference)


def sizes(random: np.random.Generator) -> dict[str, Any]:
    torch.manual_seed(int(random.integers(1000)))
    return {
        "vocab_size": 23,
        "hidden_size": int(random.choice([16, 32])),
        "intermediate_size": 32,
        "num_hidden_layers": int(random.integers(1, 3)),
        "num_attention_heads": int(random.choice([1, 2])),
        "max_position_embeddings": 32,
    }


def spec_of(task: str, folder: Path) -> WorkloadSpec:
    return WorkloadSpec(task=task, model="model", folder=str(folder), data="rows.jsonl")


DRAW = (classification, embedding, language_model)


@pytest.mark.parametrize("seed", SEEDS)
def test_quality_is_that_of_torch_alone(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    drawn = DRAW[seed % len(DRAW)](random, tmp_path)
    write_tokenizer(tmp_path / "model", pad="[PAD]")
    lines = [json.dumps(row) + "\n" for row in drawn.rows]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    runtime = str(random.choice(["torch", "onnxruntime"]))
    chosen = builtin_catalog().complete({"runtime": runtime, "threads": 1})
    assert describe(DescribeRequest(workload=drawn.spec, configuration=chosen)).parameters > 0

    stage = ModelStage(
        workload=drawn.spec, configuration=chosen, store=tmp_path / "store", model_key="m" * 32
    )
    for name in ("candidate", "quality", "nothing"):
        (tmp_path / name).mkdir()
    build(BuildRequest(model=stage, folder=tmp_path / "candidate"))
    write_candidate_quality(
        QualityRequest(
            workload=drawn.spec,
            configuration=chosen,
            candidate=tmp_path / "candidate",
            reference=tmp_path / "nothing",
            threads=1,
            outputs=Store(tmp_path / "store").path(outputs_key("m" * 32)),
            folder=tmp_path / "quality",
        )
    )
    with torch.inference_mode():
        name, expected = drawn.reference()
    assert read_metrics(tmp_path / "quality")[name].value == pytest.approx(expected, rel=1e-4)
