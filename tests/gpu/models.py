"""Models of transformers with random weights, and their data; written once for all checks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = tuple(f"word{number}" for number in range(200))
TEXTS = 96
IMAGES = 16
LABELS = ("one", "other")
VOCABULARY, GPT2_VOCABULARY = 32_000, 50_257


def make_models(folder: str, small: bool) -> dict[str, Any]:
    """Write all models and their data; with `small` tiny ones, for a CPU."""
    import torch
    import transformers

    torch.manual_seed(0)
    root, width, layers = Path(folder), 64 if small else 512, 1 if small else 3
    vocabulary = 300 if small else VOCABULARY
    common: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
    }
    common["num_attention_heads"] = 4 if small else 8
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {n: i for i, n in enumerate(LABELS)},
    }
    bert = transformers.BertConfig(
        vocab_size=vocabulary, max_position_embeddings=512, **common, **labels
    )
    llama = transformers.LlamaConfig(
        vocab_size=vocabulary,
        num_key_value_heads=common["num_attention_heads"],
        max_position_embeddings=512,
        tie_word_embeddings=False,
        **common,
    )
    gpt2 = transformers.GPT2Config(
        vocab_size=300 if small else GPT2_VOCABULARY,
        n_embd=width,
        n_layer=layers,
        n_head=4 if small else 8,
        n_positions=512,
        bos_token_id=0,
        eos_token_id=0,
    )
    generator = transformers.LlamaConfig(  # SmolLM2-135M's
        vocab_size=300 if small else 49_152,
        hidden_size=64 if small else 576,
        intermediate_size=128 if small else 1536,
        num_hidden_layers=1 if small else 30,
        num_attention_heads=4 if small else 9,
        num_key_value_heads=2 if small else 3,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    size = 32 if small else 224
    vit = transformers.ViTConfig(image_size=size, patch_size=16, **common, **labels)
    models = {
        "decoder": transformers.LlamaForCausalLM(llama),
        "generator": transformers.LlamaForCausalLM(generator),
        "gpt2": transformers.GPT2LMHeadModel(gpt2),
        "encoder": transformers.BertModel(bert),
        "classifier": transformers.BertForSequenceClassification(bert),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
        _save_tokenizer(root / name)
    _write_texts(root, short=small)
    if _write_images(root, size):
        transformers.ViTForImageClassification(vit).save_pretrained(root / "vit")
        processor = transformers.ViTImageProcessor(size={"height": size, "width": size})
        processor.save_pretrained(root / "vit")
    return {"names": [path.name for path in root.iterdir() if (path / "config.json").exists()]}


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ("[PAD]", "[UNK]", *WORDS)
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )
    wrapped.save_pretrained(folder)


def _write_texts(root: Path, *, short: bool) -> None:
    """Write texts of about 250 words, so that requests have 256 tokens at most."""
    length = 20 if short else 250
    texts = [
        " ".join(
            WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)]
            for place in range(length - number % 3)
        )
        for number in range(TEXTS)
    ]
    _write_rows(root / "texts.jsonl", [{"text": text} for text in texts])
    _write_rows(root / "prompts.jsonl", [{"prompt": text} for text in texts])
    pairs = [{"query": " ".join(text.split()[:8]), "document": text} for text in texts]
    _write_rows(root / "pairs.jsonl", pairs)
    labelled = [{"text": text, "label": LABELS[n % 2]} for n, text in enumerate(texts)]
    _write_rows(root / "labelled.jsonl", labelled)


def _write_images(root: Path, size: int) -> bool:
    """Write images of noise; False where pillow is missing."""
    try:
        from PIL import Image
    except ImportError:
        return False
    import numpy as np

    random = np.random.default_rng(0)
    (root / "images").mkdir()
    for place in range(IMAGES):
        pixels = random.integers(0, 256, size=(size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{place}.png")
    rows = [{"image": f"images/{n}.png", "label": LABELS[n % 2]} for n in range(IMAGES)]
    _write_rows(root / "images.jsonl", rows)
    return True


def _write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
