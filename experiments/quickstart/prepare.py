"""Train the quickstart's small language model, once, in under two minutes on two CPU cores.

    python prepare.py OUTPUT_FOLDER

The text is the source of the running Python's standard library, so nothing is downloaded.
Every twelfth module is held out. Three things are written:

- OUTPUT_FOLDER/model: a Llama model of about 11 million float32 parameters with its tokenizer,
  loadable by transformers' AutoModelForCausalLM and AutoTokenizer;
- OUTPUT_FOLDER/heldout.jsonl: one {"text": ...} row for each of 64 held-out passages;
- OUTPUT_FOLDER/calibration.jsonl: the same from 32 training modules, for calibration.

Training stops when the time is up, not after a fixed number of steps: a faster machine takes
more steps and gets a better model. The held-out rows depend on the Python version alone. The
model knows what standard library code looks like; it is no useful assistant and no benchmark
entry, only trained far enough that quantizing or pruning it costs something measurable.
"""

import json
import logging
import math
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

logging.disable(logging.WARNING)  # the libraries chatter while they are imported

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.func import functional_call
from transformers import (
    AttentionInterface,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm

START = time.monotonic() - time.process_time()  # about when the process began: imports count
TRAIN_UNTIL = 90  # seconds after START; writing and measuring take about four more
END = "<|end|>"  # stands before each module
SKIP = {"site-packages", "dist-packages", "test", "tests", "idle_test"} | {
    "encodings",  # mostly character tables
    "pydoc_data",  # one large string
}
TOKENS = 4096  # in a training step
LENGTHS = ((0.6, 128), (1.0, 256))  # until which share of the time windows have which length


def say(message: str) -> None:
    """Print one progress line on stderr."""
    print(f"{time.monotonic() - START:5.0f} s  {message}", file=sys.stderr, flush=True)


def read_modules() -> tuple[list[str], list[str]]:
    """Return the training modules and the held-out ones, in the order of their paths."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(p for p in root.rglob("*.py") if not SKIP & set(p.relative_to(root).parts))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    return [t for i, t in enumerate(texts) if i % 12 != 5], texts[5::12]


def cut_passages(modules: Sequence[str], count: int = 64) -> list[str]:
    """Return passages of 1,000 to 1,500 characters, one a module before any gives two."""
    turns: list[list[str]] = [[], [], []]
    for text in modules:
        for turn, share in zip(turns, (0.4, 0.7, 0.1), strict=True):
            start = text.find("\n", int(share * len(text))) + 1
            passage = text[start : text.rfind("\n", start, start + 1300) + 1]
            if len(passage) >= 1000:
                turn.append(passage)
    return [passage for turn in turns for passage in turn][:count]


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Return a byte-level BPE tokenizer that has learned its 2,048 entries from texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def make_model(vocab_size: int) -> LlamaForCausalLM:
    """Return an untrained model: few wide layers, each of which starts as the identity."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=640,
        intermediate_size=1280,
        num_hidden_layers=2,
        num_attention_heads=5,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.zeros_(weight)
        elif "proj" in name:
            torch.nn.init.normal_(weight, std=0.6 * weight.shape[1] ** -0.5)
        weight.requires_grad_("norm" not in name)  # gains stay at one
    return model


def plain_norm(module: torch.nn.Module, x: Tensor) -> Tensor:
    """Scale rows to unit root mean square: LlamaRMSNorm, with no detour through float32."""
    size: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * (math.sqrt(x.shape[-1]) / size)


def plain_attention(
    module: torch.nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: None, **options: Any
) -> tuple[Tensor, None]:
    """Attend causally with whole score matrices; trains faster on a CPU than a fused kernel."""
    batch, heads, length, size = q.shape
    future = torch.full((length, length), -1e4, dtype=q.dtype).triu(1)
    q, k, v = (x.reshape(-1, length, size) for x in (q, k, v))
    scores = torch.baddbmm(future, q, k.transpose(1, 2), alpha=size**-0.5)
    mixed = torch.bmm(scores.softmax(-1), v).view(batch, heads, length, size)
    return mixed.transpose(1, 2).contiguous(), None


def train(model: LlamaForCausalLM, ids: Tensor) -> None:
    """Train in place, Muon on the matrices, AdamW on the embeddings, until the time is up."""
    weights = dict(model.named_parameters())
    inside = [w for name, w in weights.items() if "proj" in name]
    groups = [
        {"params": [weights["model.embed_tokens.weight"]], "lr": 0.02},
        {"params": [weights["lm_head.weight"]], "lr": 0.005},
    ]
    optimizers = [
        torch.optim.Muon(inside, lr=0.02, momentum=0.85, weight_decay=0.0),
        torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True),
    ]
    random_windows = torch.Generator().manual_seed(0)
    begin, step = time.monotonic() - START, 0
    while (share := (time.monotonic() - START - begin) / (TRAIN_UNTIL - begin)) < 1:
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"] = group.setdefault("peak", group["lr"]) * min(1.0, (1 - share) / 0.7)
        length = next(length for until, length in LENGTHS if share < until)
        starts = torch.randint(len(ids) - length, (TOKENS // length, 1), generator=random_windows)
        windows = ids[starts + torch.arange(length + 1)]
        rounded = {name: w.bfloat16() for name, w in weights.items()}
        output = functional_call(model, rounded, windows[:, :-1], {"use_cache": False})
        loss = F.cross_entropy(output.logits.flatten(0, 1), windows[:, 1:].flatten())
        torch.autograd.backward(loss)  # through the rounding, to the float32 weights
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        if step % 10 == 0:
            say(f"step {step}  loss {loss.item():.2f}")


@torch.no_grad()
def perplexity(model: LlamaForCausalLM, tokenizer: Tokenizer, passages: Sequence[str]) -> float:
    """Return the perplexity per token over all passages, each read on its own."""
    total, count = 0.0, 0
    for passage in passages:
        ids = torch.tensor([tokenizer.encode(passage).ids])
        logits = model(ids[:, :-1], use_cache=False).logits
        total += F.cross_entropy(logits[0].float(), ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return math.exp(total / count)


def write_rows(path: Path, passages: Sequence[str]) -> None:
    """Write one {"text": ...} row for each passage."""
    rows = "".join(json.dumps({"text": passage}) + "\n" for passage in passages)
    path.write_text(rows, encoding="utf-8")


def main() -> None:
    """Prepare the model and the held-out passages in the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python prepare.py OUTPUT_FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    training, heldout = read_modules()
    tokenizer = train_tokenizer(training)
    encoded = tokenizer.encode_batch([END + text for text in training])
    ids = torch.tensor([i for module in encoded for i in module.ids])
    passages = cut_passages(heldout)
    write_rows(folder / "heldout.jsonl", passages)
    write_rows(folder / "calibration.jsonl", cut_passages(training[::10], count=32))
    say(f"{len(training)} modules, {len(ids):,} tokens, {len(passages)} held-out passages")

    model = make_model(tokenizer.get_vocab_size())
    say(f"{model.num_parameters():,} parameters")
    attention = str(model.config._attn_implementation)
    AttentionInterface.register("plain", plain_attention)
    model.set_attn_implementation("plain")
    with mock.patch.object(LlamaRMSNorm, "forward", plain_norm):
        train(model, ids)
    model.set_attn_implementation(attention)

    model.requires_grad_(True).save_pretrained(folder / "model")
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=END
    )
    wrapped.save_pretrained(folder / "model")
    torch.set_num_threads(1)  # passages are short, and waiting for a busy second core is slow
    say(f"held-out perplexity {perplexity(model.bfloat16(), tokenizer, passages):.1f}")


if __name__ == "__main__":
    main()
