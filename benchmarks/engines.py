"""Speed, memory and exactness of the engines that generate text, on one model.

    python benchmarks/engines.py MODEL [--engines openvino-genai ...] [--threads 1 2] [--json FILE]

MODEL is a folder with config.json and safetensors. Every engine runs its number formats in a
process of its own: prompts of random tokens, 128 tokens in and 32 out, 1 and 4 at a time. `diverge`
is the first token of each response that differs from transformers in fp32 (32: none); KL is
teacher-forced over the reference's responses, in nats a token. `ttft_to_own` and `tpot_to_own` are
our times by OpenVINO GenAI's own of equal requests; both kinds of runs alternate.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import psutil

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.interfaces.generation import GenerationRequest, Scorer, generate
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.runtimes.base import Built, Source
from tunefront.evaluators.testing.cases import kept_below
from tunefront.spaces import Value, detect_hardware

INPUT_TOKENS, OUTPUT_TOKENS, PROMPTS = 128, 32, 4
FORMATS: Mapping[str, Mapping[str, Value]] = {
    "fp32": {},
    "fp32 kv8": {"kv_cache_bits": 8},
    "fp32 kv4": {"kv_cache_bits": 4},
    "w8": {"quantization_bits": 8},
    "w8 kv8": {"quantization_bits": 8, "kv_cache_bits": 8},
    "w4 g32": {"quantization_bits": 4, "group_size": 32},
    "w4 g64 kv8": {"quantization_bits": 4, "group_size": 64, "kv_cache_bits": 8},
}
"""Number formats by name; those that an engine can't run here are left out."""
TURNS = 5
"""Repetitions of each load, and of each kind of run with the engine's own times."""


def prompts(model: Path) -> list[GenerationRequest]:
    """Random prompts that are the same in every process."""
    vocabulary = int(json.loads((model / "config.json").read_text())["vocab_size"])
    random = np.random.default_rng(0)
    tokens = random.integers(3, vocabulary, (PROMPTS, INPUT_TOKENS)).tolist()
    return [GenerationRequest(prompt=tuple(one), new_tokens=OUTPUT_TOKENS) for one in tokens]


def write_reference(model: Path, file: Path) -> None:
    """Write the greedy responses of transformers in fp32, and the log-probabilities on them."""
    import torch
    from transformers import AutoModelForCausalLM

    module: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    module.eval()
    responses, scores = [], []
    for request in prompts(model):
        ids = torch.tensor([request.prompt])
        found = module.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=OUTPUT_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        with torch.no_grad():
            logits = module(found).logits[0, INPUT_TOKENS - 1 : -1].double()
        responses.append(found[0, INPUT_TOKENS:].tolist())
        scores.append(torch.log_softmax(logits, -1).numpy())
    np.savez(file, responses=np.array(responses), scores=np.array(scores))


def measure(model: Path, work: Path, engine: str, name: str, threads: int) -> dict[str, object]:
    """Build and open a candidate in this process and measure it."""
    catalog, runtime = builtin_catalog(), runtime_of(builtin_catalog(), engine)
    configuration = catalog.complete({**FORMATS[name], "runtime": engine, "threads": threads})
    folder = work / f"{engine} {name}"
    settings = folder / "settings of the build"
    if not settings.exists():
        folder.mkdir()
        source = Source(
            module=lambda: cast(Any, None),
            shared=partial(kept_below, work / f"{engine} shared"),
            hardware=detect_hardware(),
            prompts=prompts(model),
            unchanged=model,
        )
        start = time.process_time()
        built = runtime.build(source, configuration, folder)
        settings.write_text(json.dumps(built))
        return {"build_cpu_s": round(time.process_time() - start, 1)}
    endpoint: Any = runtime.open(
        Built(folder=folder, settings=json.loads(settings.read_text())), configuration
    )
    row: dict[str, object] = {"engine": engine, "format": name, "threads": threads}
    requests = prompts(model)
    generate(endpoint, requests)
    for concurrency in (1, 4):
        load = Load(concurrency=concurrency)
        responses = [one for _ in range(TURNS) for one in generate(endpoint, requests, load)]
        first = [one.arrival_s[0] for one in responses]
        rest = [(one.arrival_s[-1] - one.arrival_s[0]) / (OUTPUT_TOKENS - 1) for one in responses]
        row |= {f"ttft_ms@{concurrency}": _ms(first), f"tpot_ms@{concurrency}": _ms(rest)}
    memory = psutil.Process().memory_info()
    row["rss_mb"] = round(memory.rss / 1e6)
    if engine == "openvino-genai":
        row |= own_times(endpoint, requests[0])
    return row | exactness(endpoint, requests, work / "reference.npz")


def own_times(endpoint: Any, request: GenerationRequest) -> dict[str, object]:
    """Return TTFT and TPOT of OpenVINO GenAI's own `perf_metrics` beside ours, in turns."""
    import openvino
    import openvino_genai

    config: Any = openvino_genai.GenerationConfig(max_new_tokens=OUTPUT_TOKENS, ignore_eos=True)
    config.set_eos_token_id(0)
    ours, own = [], []
    for _ in range(2 * TURNS):
        arrival_s = generate(endpoint, [request])[0].arrival_s
        ours.append((arrival_s[0], (arrival_s[-1] - arrival_s[0]) / (OUTPUT_TOKENS - 1)))
        prompt = openvino.Tensor(np.array([request.prompt], np.int64))
        found = endpoint._pipeline.generate([prompt], [config])[0].perf_metrics
        own.append((found.get_ttft().mean / 1e3, found.get_tpot().mean / 1e3))
    shares = np.median(np.array(ours) / np.array(own), axis=0)
    return {"ttft_to_own": round(float(shares[0]), 3), "tpot_to_own": round(float(shares[1]), 3)}


def exactness(endpoint: Any, requests: list[GenerationRequest], file: Path) -> dict[str, object]:
    """Compare responses and scores with the reference."""
    reference = np.load(file)
    same, losses = [], []
    found = generate(endpoint, requests)
    for request, response, tokens, expected in zip(
        requests, found, reference["responses"], reference["scores"], strict=True
    ):
        equal = np.array(response.tokens) == tokens
        same.append(int(equal.argmin()) if not equal.all() else OUTPUT_TOKENS)
        text = (*request.prompt, *tokens.tolist())
        portions = list(cast(Scorer, endpoint).logits(text))
        logits = np.concatenate(portions)[INPUT_TOKENS - 1 :].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses.append(float((np.exp(expected) * (expected - scores)).sum(axis=1).mean()))
    return {"diverge": same, "kl": float(f"{statistics.mean(losses):.3g}")}


def _ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1e3, 1)


def main() -> None:
    """Run every engine, format and number of threads in a process of its own; print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--engines", nargs="+", default=["openvino-genai"])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--work", type=Path, help="folder for models; kept, so that runs resume")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        engine, name, threads = given.only
        print(json.dumps(measure(given.model, given.work, engine, name, int(threads))))
        return
    with TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        rows = list(table(given, work))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


def table(given: argparse.Namespace, work: Path) -> list[dict[str, object]]:
    """Measure and print every row, with the load average before it."""
    if not (work / "reference.npz").exists():
        write_reference(given.model, work / "reference.npz")
    catalog, hardware, rows = builtin_catalog(), detect_hardware(), []
    for engine in given.engines:
        for name in given.formats:
            refusal = catalog.refusal({**FORMATS[name], "runtime": engine}, hardware)
            if refusal is not None:
                print(f"{engine} {name}: {refusal}")
                continue
            for threads in given.threads:
                settings = work / f"{engine} {name}" / "settings of the build"
                if not settings.exists():
                    print(json.dumps(_in_process(given.model, work, engine, name, 1)), flush=True)
                load = round(os.getloadavg()[0], 1)
                row = {**_in_process(given.model, work, engine, name, threads), "load": load}
                print(json.dumps(row), flush=True)
                rows.append(row)
    return rows


def _in_process(model: Path, work: Path, *only: object) -> dict[str, object]:
    command = [sys.executable, __file__, str(model), "--work", str(work), "--only"]
    done = subprocess.run(
        [*command, *map(str, only)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
