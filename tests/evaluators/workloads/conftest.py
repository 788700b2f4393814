"""Tiny models of every task with their data, made once a session; their weights are random."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tunefront.evaluators import WorkloadSpec, build_workload
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.base import Run, TensorWorkload

if TYPE_CHECKING:
    import torch

SENTENCE = "red green blue warm cold round square small large old new near far fast slow and calm"
WORDS = tuple(SENTENCE.split())
TEXTS = tuple(" ".join((WORDS * 2)[i : i + 2 + i % 6]) for i in range(12))
LABELS = ("colour", "shape", "size")
IMAGES = 7
CUSTOM = '''
"""A small regression, as a user might write it: two inputs, one number an item."""

import numpy as np
import torch

ITEMS = 9


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(6, 16)
        self.outer = torch.nn.Linear(16, 2)

    def forward(self, features, shift):
        kind = self.inner.weight.dtype
        return self.outer(torch.tanh(self.inner(features.to(kind))) + shift.to(kind)).float()


def model():
    torch.manual_seed(0)
    return Network()


def data():
    random = np.random.default_rng(0)
    features = random.normal(size=(ITEMS, 6)).astype(np.float32)
    return {"features": features, "shift": np.ones((ITEMS, 1), np.float32)}


def inputs(batch_size, count):
    places = np.arange(batch_size * count).reshape(count, batch_size) % ITEMS
    return [{name: array[request] for name, array in data().items()} for request in places]


def quality(run):
    return 1 / (1 + np.abs(run(data())[0]).sum(axis=1))
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A task with a tiny model.

    Attributes:
        workload: The workload.
        module: What its `load_module` returned.
        items: Rows that requests are made of.
    """

    workload: TensorWorkload
    module: "torch.nn.Module"
    items: int

    def run(self, inputs: Inputs) -> Sequence[Array]:
        """The module as quality functions see it."""
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        with torch.inference_mode():
            return [self.module(**tensors).numpy()]


def constant_run(case: Case, value: float) -> Run:
    """A candidate that returns one value, in the shape that the module returns."""
    return lambda inputs: [np.full_like(case.run(inputs)[0], value)]


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def save_tokenizer(folder: Path, special: bool) -> int:
    """Word by word, with or without [CLS] and [SEP]; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS)
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )
    wrapped.save_pretrained(folder)
    return len(vocabulary)


def bert_config(vocabulary: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        id2label=dict(enumerate(LABELS)),
        label2id={name: number for number, name in enumerate(LABELS)},
        initializer_range=0.5,
    )


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`classifier/` and `encoder/` (both BERT), rows of texts with labels and with queries."""
    import torch
    from transformers import BertForSequenceClassification, BertModel

    folder = tmp_path_factory.mktemp("text")
    torch.manual_seed(0)
    config = bert_config(save_tokenizer(folder / "classifier", special=True))
    BertForSequenceClassification(config).save_pretrained(folder / "classifier")
    save_tokenizer(folder / "encoder", special=True)
    BertModel(config).save_pretrained(folder / "encoder")
    labelled = [{"text": text, "label": LABELS[i % 3]} for i, text in enumerate(TEXTS)]
    write_rows(folder / "labelled.jsonl", labelled)
    pairs = [{"query": text.split()[0], "document": text} for text in TEXTS]
    write_rows(folder / "pairs.jsonl", pairs)
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vit/` and `resnet/`, PNG files of different sizes, rows with their paths and labels."""
    import torch
    from PIL import Image
    from transformers import (
        ResNetConfig,
        ResNetForImageClassification,
        ViTConfig,
        ViTForImageClassification,
        ViTImageProcessorPil,
    )

    folder = tmp_path_factory.mktemp("image")
    torch.manual_seed(0)
    vit = ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        id2label=dict(enumerate(LABELS)),
        initializer_range=0.5,
    )
    resnet = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(LABELS)),
    )
    ViTForImageClassification(vit).save_pretrained(folder / "vit")
    ResNetForImageClassification(resnet).save_pretrained(folder / "resnet")
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    random = np.random.default_rng(0)
    (folder / "images").mkdir()
    for place in range(IMAGES):
        pixels = random.integers(0, 256, size=(8 + place, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{place}.png")
    for name in ("vit", "resnet"):
        processor.save_pretrained(folder / name)
    rows = [{"image": f"images/{place}.png", "label": place % 3} for place in range(IMAGES)]
    write_rows(folder / "images.jsonl", rows)
    return folder


@pytest.fixture(scope="session")
def custom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's module, `own_network.py`."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "own_network.py").write_text(CUSTOM)
    return folder


@pytest.fixture(scope="session")
def classifier_spec(text_folder: Path) -> WorkloadSpec:
    return WorkloadSpec(
        task="text-classification",
        model="classifier",
        folder=str(text_folder),
        data="labelled.jsonl",
        max_length=16,
    )


@pytest.fixture(scope="session")
def encoder_spec(text_folder: Path) -> WorkloadSpec:
    return WorkloadSpec(
        task="text-embedding",
        model="encoder",
        folder=str(text_folder),
        data="pairs.jsonl",
        max_length=16,
    )


@pytest.fixture(scope="session")
def image_spec(image_folder: Path) -> WorkloadSpec:
    return WorkloadSpec(
        task="image-classification", model="vit", folder=str(image_folder), data="images.jsonl"
    )


@pytest.fixture(scope="session")
def resnet_spec(image_folder: Path) -> WorkloadSpec:
    return WorkloadSpec(
        task="image-classification", model="resnet", folder=str(image_folder), data="images.jsonl"
    )


@pytest.fixture(scope="session")
def custom_spec(custom_folder: Path) -> WorkloadSpec:
    return WorkloadSpec(
        task="custom",
        model="own_network:model",
        folder=str(custom_folder),
        inputs="own_network:inputs",
        quality="own_network:quality",
        metric="closeness",
    )


@pytest.fixture(
    scope="session",
    params=[
        "lm_spec",
        "encoder_spec",
        "classifier_spec",
        "image_spec",
        "resnet_spec",
        "custom_spec",
    ],
    ids=lambda name: name.removesuffix("_spec"),
)
def spec(request: pytest.FixtureRequest) -> WorkloadSpec:
    """The spec of every task in turn."""
    found: WorkloadSpec = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def case(spec: WorkloadSpec) -> Case:
    """Every task in turn, its module loaded."""
    items = {"causal-lm": 24, "image-classification": IMAGES, "custom": 9}.get(
        spec.task, len(TEXTS)
    )
    workload = build_workload(spec)
    assert isinstance(workload, TensorWorkload)
    return Case(workload=workload, module=workload.load_module(), items=items)
