"""What many tests need: a language model of a few thousand weights, and its texts."""

import json
from pathlib import Path

import pytest

from tunefront.evaluators import WorkloadSpec

SENTENCE = "the model reads a line of code and writes what the next line of the code may be"
WORDS = tuple(SENTENCE.split())


@pytest.fixture(scope="session")
def lm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model/` (a tiny Llama and its tokenizer), data.jsonl, calibration.jsonl."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("lm")
    texts = [" ".join(WORDS[i % 7 :] + WORDS[: i % 5]) for i in range(24)]
    for name, rows in (("data.jsonl", texts), ("calibration.jsonl", texts[:8])):
        lines = [json.dumps({"text": text}) for text in rows]
        (folder / name).write_text("\n".join(lines) + "\n")
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>"])
    tokenizer.train_from_iterator(texts, trainer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    wrapped.save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="session")
def lm_spec(lm_folder: Path) -> WorkloadSpec:
    """The tiny model as a workload."""
    return WorkloadSpec(
        task="causal-lm",
        model="model",
        folder=str(lm_folder),
        data="data.jsonl",
        calibration="calibration.jsonl",
        max_length=32,
    )
