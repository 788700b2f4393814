"""Train a small BERT text classifier, once, in about two minutes of CPU time.

    python prepare.py OUTPUT_FOLDER

The task: which package of the standard library does a passage of source come from? The text is
the running Python's own library, so nothing is downloaded. Every fifth passage of a module is
held out: the model has seen its neighbours, never itself. Three things are written:

- OUTPUT_FOLDER/model: a BERT classifier of about four million float32 parameters with its
  tokenizer, loadable by transformers' AutoModelForSequenceClassification and AutoTokenizer; its
  config holds the packages' names (label2id, id2label);
- OUTPUT_FOLDER/heldout.jsonl: about 300 held-out rows {"text": ..., "label": package};
- OUTPUT_FOLDER/calibration.jsonl: 64 such rows from the training text, for calibration.

Training takes STEPS steps in float32 on every processor, so that neither its speed nor other work
on it decides how good the model gets. The rows depend on the Python version alone.
"""

import json
import logging
import random
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

logging.disable(logging.WARNING)  # the libraries chatter while they are imported

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

START = time.monotonic() - time.process_time()  # about when the process began: imports count
STEPS = 200
PACKAGES = (
    "asyncio",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "unittest",
    "urllib",
    "xml",
    "xmlrpc",
)
PASSAGE = 600  # characters
TOKENS = 128  # of a passage that the model reads
BATCH = 32
Row = Mapping[str, str]


def say(message: str) -> None:
    """Print one progress line on stderr."""
    print(f"{time.monotonic() - START:5.0f} s  {message}", file=sys.stderr, flush=True)


def read_modules() -> list[Row]:
    """Return the modules of all packages, in the order of their paths."""
    root = Path(sysconfig.get_path("stdlib"))
    return [
        {"text": path.read_text(encoding="utf-8", errors="replace"), "label": package}
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if not {"test", "tests"} & set(path.relative_to(root).parts)
    ]


def cut_passages(modules: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return overlapping passages for training, and single ones from the text between them."""
    training: list[Row] = []
    heldout: list[Row] = []
    for module in modules:
        text, label = module["text"], module["label"]
        for page in (text[at : at + 5 * PASSAGE] for at in range(0, len(text), 5 * PASSAGE)):
            for at in range(0, min(len(page), 4 * PASSAGE) - PASSAGE, PASSAGE // 4):
                at = page.find("\n", at) + 1
                training.append({"text": page[at : min(at + PASSAGE, 4 * PASSAGE)], "label": label})
            rest = page[4 * PASSAGE :].partition("\n")[2]
            if len(rest) > 0.7 * PASSAGE:
                heldout.append({"text": rest, "label": label})
    return training, heldout


def draw(rows: Sequence[Row], count: int) -> list[Row]:
    """Return about `count` rows in mixed order, of no package more than its share."""
    mixed = random.Random(0).sample(rows, len(rows))
    shares = [[row for row in mixed if row["label"] == package] for package in PACKAGES]
    kept = [row for share in shares for row in share[: count // len(PACKAGES)]]
    return random.Random(0).sample(kept, len(kept))


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Return a word-piece tokenizer that has learned its 8,192 entries from texts."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=8192,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(TOKENS)
    return tokenizer


def make_model(vocab_size: int) -> BertForSequenceClassification:
    """Return an untrained classifier that starts out looking at all words alike."""
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(PACKAGES)),
        label2id={name: number for number, name in enumerate(PACKAGES)},
        dtype="float32",
    )
    model = BertForSequenceClassification(config)
    for name, weight in model.named_parameters():
        if name.endswith(("output.dense.weight", "query.weight")):
            torch.nn.init.zeros_(weight)
        elif name.endswith(("dense.weight", "key.weight", "value.weight")):
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return model


def encode(tokenizer: Tokenizer, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids and mask of shape (rows, TOKENS), and labels of shape (rows,)."""
    ids = torch.zeros(len(rows), TOKENS, dtype=torch.int64)
    for row, encoded in zip(ids, tokenizer.encode_batch([r["text"] for r in rows]), strict=True):
        row[: len(encoded.ids)] = torch.tensor(encoded.ids)
    labels = torch.tensor([PACKAGES.index(row["label"]) for row in rows])
    return ids, (ids != 0).long(), labels


def train(model: BertForSequenceClassification, ids: Tensor, mask: Tensor, labels: Tensor) -> None:
    """Train in place, every package as often as any other."""
    groups = [
        {"params": [w for n, w in model.named_parameters() if "embedding" in n], "lr": 2e-3},
        {"params": [w for n, w in model.named_parameters() if "embedding" not in n], "lr": 1e-3},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    chances = (1 / torch.bincount(labels, minlength=len(PACKAGES)))[labels]
    drawn = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        share = step / STEPS
        for group in optimizer.param_groups:
            peak = group.setdefault("peak", group["lr"])
            group["lr"] = peak * min(share / 0.05, 1.0, (1 - share) / 0.7)
        rows = torch.multinomial(chances, BATCH, generator=drawn)
        logits = model(input_ids=ids[rows], attention_mask=mask[rows]).logits
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 19:
            say(f"step {step + 1} of {STEPS}  loss {loss.item():.2f}")


@torch.no_grad()
def accuracy(
    model: BertForSequenceClassification, ids: Tensor, mask: Tensor, labels: Tensor
) -> float:
    """Return the share of rows whose likeliest package is the right one."""
    hits = [
        (model(input_ids=i, attention_mask=m).logits.argmax(-1) == wanted)
        for i, m, wanted in zip(
            *(torch.split(part, 32) for part in (ids, mask, labels)), strict=True
        )
    ]
    return float(torch.cat(hits).float().mean())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Prepare the model and the rows in the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python prepare.py OUTPUT_FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # tensors are small, and waiting for a busy second core is slow

    training, heldout = cut_passages(read_modules())
    rows = draw(heldout, 300)
    write_rows(folder / "heldout.jsonl", rows)
    write_rows(folder / "calibration.jsonl", draw(training, 64))
    tokenizer = train_tokenizer([row["text"] for row in training[::3]])
    encoded = encode(tokenizer, training)
    say(f"{len(training):,} training passages, {len(rows)} held-out rows")

    model = make_model(tokenizer.get_vocab_size())
    say(f"{model.num_parameters():,} parameters")
    model.set_attn_implementation("eager")  # trains faster on a CPU than the fused kernel
    train(model, *encoded)

    model.save_pretrained(folder / "model")
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=TOKENS,
    )
    wrapped.save_pretrained(folder / "model")
    say(f"held-out accuracy {accuracy(model, *encode(tokenizer, rows)):.3f}")


if __name__ == "__main__":
    main()
