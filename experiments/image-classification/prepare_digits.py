"""Train a small vision transformer on handwritten digits, once, in about a minute of CPU time.

    python prepare_digits.py OUTPUT_FOLDER

The images are scikit-learn's digits: 1,797 of 8 x 8 pixels, part of its installation, so nothing
is downloaded. The model's image processor enlarges them to 32 x 32. Written are:

- OUTPUT_FOLDER/model: a ViT of about 1.4 million float32 parameters with its image processor,
  loadable by transformers' AutoModelForImageClassification and AutoImageProcessor (with Pillow
  alone; torchvision is not needed);
- OUTPUT_FOLDER/images: every image as a PNG file;
- OUTPUT_FOLDER/heldout.jsonl: a row {"image": path, "label": digit} for each of 400 held-out
  images;
- OUTPUT_FOLDER/calibration.jsonl: 64 such rows from the training images, for calibration.

Training takes STEPS steps in float32 on every processor, so that neither its speed nor other work
on it decides how good the model gets.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

logging.disable(logging.WARNING)  # the libraries chatter while they are imported

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

START = time.monotonic() - time.process_time()  # about when the process began: imports count
STEPS = 400
SIDE = 32  # pixels, as the model sees them
BATCH = 64


def say(message: str) -> None:
    """Print one progress line on stderr."""
    print(f"{time.monotonic() - START:5.0f} s  {message}", file=sys.stderr, flush=True)


def make_model() -> ViTForImageClassification:
    """Return an untrained classifier, each of whose layers starts as the identity."""
    config = ViTConfig(
        image_size=SIDE,
        patch_size=8,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=3,
        num_attention_heads=6,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={number: str(number) for number in range(10)},
        label2id={str(number): number for number in range(10)},
        dtype="float32",
    )
    model = ViTForImageClassification(config)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "fc2.weight")):
            torch.nn.init.zeros_(weight)
        elif name.endswith(("_proj.weight", "fc1.weight")):
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return model


def train(model: ViTForImageClassification, pixels: Tensor, labels: Tensor) -> None:
    """Train in place, images shifted by up to a pixel."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    drawn = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        share = step / STEPS
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(share / 0.1, 1.0, (1 - share) / 0.7)
        rows = torch.randint(len(pixels), (BATCH,), generator=drawn)
        shifts = torch.randint(-1, 2, (2,), generator=drawn).tolist()
        logits = model(pixel_values=pixels[rows].roll(shifts, (2, 3))).logits
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            say(f"step {step + 1} of {STEPS}  loss {loss.item():.2f}")


def write_rows(path: Path, places: Sequence[int], labels: Sequence[int]) -> None:
    """Write one {"image": ..., "label": ...} row for each place; paths start at the file."""
    rows = ({"image": f"images/{place:04}.png", "label": labels[place]} for place in places)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Prepare the model and the images in the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python prepare_digits.py OUTPUT_FOLDER")
    folder = Path(sys.argv[1])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # tensors are small, and waiting for a busy second core is slow

    digits: Any = load_digits()
    labels: list[int] = digits.target.tolist()
    grey = np.round(digits.images * 255 / 16).astype(np.uint8)
    images = [Image.fromarray(image).convert("RGB") for image in grey]
    for place, image in enumerate(images):
        image.save(folder / "images" / f"{place:04}.png")
    heldout = [place for place in range(len(images)) if place % 9 < 2]
    training = [place for place in range(len(images)) if place % 9 >= 2]
    write_rows(folder / "heldout.jsonl", heldout, labels)
    write_rows(folder / "calibration.jsonl", training[::22], labels)
    say(f"{len(training):,} training images, {len(heldout)} held out")

    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    pixels = torch.from_numpy(processor(images=images, return_tensors="np")["pixel_values"])
    answers = torch.tensor(labels)
    model = make_model()
    say(f"{model.num_parameters():,} parameters")
    train(model, pixels[training], answers[training])

    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    with torch.no_grad():
        guesses = model(pixel_values=pixels[heldout]).logits.argmax(-1)
    say(f"held-out accuracy {float((guesses == answers[heldout]).float().mean()):.3f}")


if __name__ == "__main__":
    main()
