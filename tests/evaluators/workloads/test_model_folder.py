"""What a model's folder says is followed: padding, positions, channels, classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tunefront.evaluators import Isolation, WorkloadSpec, describe_workload
from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.evaluators.workloads.classification import class_names, labels_of
from tunefront.evaluators.workloads.sources.text import length_limit
from tunefront.spaces import WorkloadError

WORDS = tuple(f"w{place}" for place in range(20))
NO_TOKEN = "~"
SPECIAL = ("[UNK]", "[PAD]", "<eos>")


def write_tokenizer(folder: Path, pad: str | None) -> None:
    """Save a tokenizer of whole words without special tokens around a text."""
    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.normalizer = normalizers.Replace(NO_TOKEN, "")
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="<eos>", pad_token=pad
    )
    wrapped.save_pretrained(folder)


def text_spec(folder: Path, **fields: object) -> WorkloadSpec:
    """A classification of texts of 1 to 6 words."""
    rows = [
        {"text": " ".join(WORDS[place : place + 1 + place % 6]), "label": place % 2}
        for place in range(12)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = WorkloadSpec(
        task="text-classification", model="model", folder=str(folder), data="rows.jsonl"
    )
    return replace(spec, **fields)  # type: ignore[arg-type]


def decoder(folder: Path, pad_token_id: int | None) -> None:
    """Save a classifier that takes the last token that is no padding."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=23,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        pad_token_id=pad_token_id,
        initializer_range=0.5,
    )
    transformers.GPT2ForSequenceClassification(config).save_pretrained(folder / "model")


def encoder(folder: Path, **settings: object) -> None:
    """Save a BERT classifier with 8 positions."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=23,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
    )
    config.update(settings)
    transformers.BertForSequenceClassification(config).save_pretrained(folder / "model")
    write_tokenizer(folder / "model", pad="[PAD]")


def test_a_decoder_s_classifier_is_padded_with_the_token_that_it_looks_for(
    tmp_path: Path, isolation: Isolation
) -> None:
    """The tokenizer has none, as GPT-2's; with id 0 the last token would be taken for a word."""
    decoder(tmp_path, pad_token_id=SPECIAL.index("<eos>"))
    write_tokenizer(tmp_path / "model", pad=None)
    spec = text_spec(tmp_path)
    workload = build_workload(spec)
    assert isinstance(workload, TensorWorkload)
    (request,) = workload.requests(6, 1)
    assert set(request["input_ids"][request["attention_mask"] == 0]) == {SPECIAL.index("<eos>")}
    described = describe_workload(spec, isolation, tmp_path / "log")
    assert described.module == "TextLogitsModule"


def test_a_decoder_s_classifier_without_padding_token_is_refused(
    tmp_path: Path, isolation: Isolation
) -> None:
    decoder(tmp_path, pad_token_id=None)
    write_tokenizer(tmp_path / "model", pad=None)
    with pytest.raises(WorkloadError, match=r"model: .*(padding token|in a batch of 4 than alone)"):
        describe_workload(text_spec(tmp_path), isolation, tmp_path / "log")


def test_texts_are_cut_at_the_positions_that_the_model_has(
    tmp_path: Path, isolation: Isolation
) -> None:
    encoder(tmp_path)
    spec = text_spec(tmp_path)
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"text": " ".join(WORDS[:15]), "label": 0}) + "\n" for _ in range(4))
    )
    note = "4 of 4 texts are cut at 8 tokens, as many as the model reads (max_length is 256)"
    assert describe_workload(spec, isolation, tmp_path / "log").notes == (note,)
    (request,) = build_workload(spec).requests(2, 1)
    assert request["input_ids"].shape == (2, 8)
    assert build_workload(replace(spec, max_length=4)).notes() == ()


def test_positions_after_the_padding_token_are_fewer(tmp_path: Path) -> None:
    """RoBERTa counts positions from the padding token's id on: 514 of them serve 512 tokens."""
    config = transformers.RobertaConfig(max_position_embeddings=514, pad_token_id=1)
    (tmp_path / "model").mkdir()
    config.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").touch()
    assert length_limit(text_spec(tmp_path, max_length=1000)) == 512


def test_a_text_without_tokens_is_named(tmp_path: Path) -> None:
    encoder(tmp_path)
    spec = text_spec(tmp_path)
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write(json.dumps({"text": NO_TOKEN, "label": 0}) + "\n")
    with pytest.raises(WorkloadError, match="the text '~' has no token; correct or remove it"):
        build_workload(spec).requests(2, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 1}, "accuracy needs a classifier .* its configuration has 1 output"),
        (
            {"problem_type": "multi_label_classification"},
            "its configuration has multi_label_classification; use task custom",
        ),
    ],
)
def test_a_model_that_is_no_classifier_of_one_class_is_refused(
    settings: dict[str, object], message: str, tmp_path: Path, isolation: Isolation
) -> None:
    encoder(tmp_path, **settings)
    with pytest.raises(WorkloadError, match=message):
        describe_workload(text_spec(tmp_path), isolation, tmp_path / "log")


NAMES = {"negative": 0, "positive": 1}


def test_labels_are_numbers_or_names_of_classes() -> None:
    written = [0, 1, 1.0, "1", "0.0", "positive"]
    found = labels_of([{"label": label} for label in written], NAMES, "d.csv")
    assert found.tolist() == [0, 1, 1, 1, 0, 1]


@pytest.mark.parametrize("label", [-1, 2, 0.5, "0.5", True, "neutral", None, "nan", [0]])
def test_a_label_that_is_no_class_is_named_by_its_row(label: object) -> None:
    told = (
        r"d\.csv: row 2: column 'label' must be a class number from 0 to 1 or one of negative, "
        r"positive, but got "
    )
    with pytest.raises(WorkloadError, match=told):
        labels_of([{"label": 0}, {"label": label}], NAMES, "d.csv")


def test_labels_are_checked_before_the_search(tmp_path: Path, isolation: Isolation) -> None:
    encoder(tmp_path)
    spec = text_spec(tmp_path)
    assert class_names(spec) == {"LABEL_0": 0, "LABEL_1": 1}
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write('{"text": "w1", "label": 7}\n')
    with pytest.raises(WorkloadError, match="row 13: column 'label' must be a class number"):
        describe_workload(spec, isolation, tmp_path / "log")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_as_many_channels_as_the_model(
    channels: int, tmp_path: Path, isolation: Isolation
) -> None:
    spec = image_spec(tmp_path, channels)
    workload = build_workload(spec)
    assert isinstance(workload, TensorWorkload)
    assert workload.inputs[0].dims == ("batch", channels, 16, 16)
    assert workload.requests(2, 1)[0]["pixel_values"].shape == (2, channels, 16, 16)
    assert describe_workload(spec, isolation, tmp_path / "log").parameters > 0


def test_a_changed_image_is_other_data(tmp_path: Path, isolation: Isolation) -> None:
    from PIL import Image

    spec = image_spec(tmp_path, 3)
    before = describe_workload(spec, isolation, tmp_path / "log").fingerprint
    Image.new("RGB", (20, 20), "red").save(tmp_path / "0.png")
    assert describe_workload(spec, isolation, tmp_path / "log").fingerprint != before


def image_spec(folder: Path, channels: int) -> WorkloadSpec:
    """A classification of random images by a small ResNet."""
    from PIL import Image

    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        num_channels=channels,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        id2label={0: "even", 1: "odd"},
        layer_type="basic",
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder / "model")
    transformers.ViTImageProcessorPil(
        size={"height": 16, "width": 16}, image_mean=[0.5] * channels, image_std=[0.5] * channels
    ).save_pretrained(folder / "model")
    random = np.random.default_rng(0)
    rows = []
    for place in range(6):
        pixels = random.integers(0, 255, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
        rows.append({"image": f"{place}.png", "label": place % 2})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return WorkloadSpec(
        task="image-classification", model="model", folder=str(folder), data="rows.jsonl"
    )


MIXED = """
import numpy as np
import torch


class Mixed(torch.nn.Module):
    def forward(self, input):
        return input - input.mean(0)


def model():
    return Mixed()


def inputs(batch_size, count):
    random = np.random.default_rng(0)
    return [{"input": random.normal(size=(batch_size, 4)).astype(np.float32)}] * count


def quality(run):
    return 1.0
"""


def test_a_model_that_mixes_the_items_of_a_batch_is_refused(
    tmp_path: Path, isolation: Isolation
) -> None:
    (tmp_path / "mixing_network.py").write_text(MIXED)
    spec = WorkloadSpec(
        task="custom",
        model="mixing_network:model",
        folder=str(tmp_path),
        inputs="mixing_network:inputs",
        quality="mixing_network:quality",
    )
    with pytest.raises(WorkloadError, match="item 1 has other outputs in a batch of 4 than alone"):
        describe_workload(spec, isolation, tmp_path / "log")
