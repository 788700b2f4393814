"""Our times of a server that generates text beside those of GuideLLM, in turns.

    python benchmarks/http_times.py URL MODEL --guidellm PROGRAM [--rounds 3] [--requests 12]

URL is a server with the OpenAI-compatible interface, MODEL the folder with its tokenizer, PROGRAM
the executable of GuideLLM 0.8, which is installed in an environment of its own. Both send one
request at a time: a prompt of 64 tokens, 16 tokens out, streamed. The table has the median time to
the first token, that between tokens (GuideLLM's inter-token latency), and our share of GuideLLM's.
"""

import argparse
import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.generation import GenerationRequest, ServerSpec, generate
from tunefront.evaluators.runtimes.server.endpoint import ServerEndpoint

INPUT_TOKENS, OUTPUT_TOKENS = 64, 16


def own_times(url: str, tokenizer: Any, count: int, seed: int) -> list[tuple[float, float]]:
    """Return the milliseconds to the first token and between tokens of each request."""
    endpoint = ServerEndpoint(url, ServerSpec(url=url), tokenizer, None, {})
    random = np.random.default_rng(seed)
    tokens = random.integers(100, len(tokenizer), (count, INPUT_TOKENS)).tolist()
    asked = [GenerationRequest(prompt=tuple(one), new_tokens=OUTPUT_TOKENS) for one in tokens]
    try:
        arrivals = [generate(endpoint, [one])[0].arrival_s for one in asked]
    finally:
        endpoint.close()
    gaps = OUTPUT_TOKENS - 1
    return [(1e3 * one[0], 1e3 * (one[-1] - one[0]) / gaps) for one in arrivals]


def guidellm_times(
    program: str, url: str, model: Path, count: int, seed: int
) -> list[tuple[float, float]]:
    """Return the same by GuideLLM."""
    with TemporaryDirectory() as name:
        report = Path(name, "report.json")
        command = [
            *(program, "run", "--disable-console"),
            *("--backend", f"kind=openai_http,target={url},request_format=/v1/completions"),
            *("--profile", "kind=synchronous"),
            *("--constraint", f"kind=max_requests,count={count}"),
            *("--tokenizer", f"kind=huggingface_auto,model={model}"),
            "--data",
            f"kind=synthetic_text,prompt_tokens={INPUT_TOKENS},output_tokens={OUTPUT_TOKENS}",
            *("--seed", f"kind=static,value={seed}"),
            *("--output", f"kind=json,path={report}"),
        ]
        subprocess.run(command, check=True, capture_output=True, text=True)
        (found,) = json.loads(report.read_text())["benchmarks"]
    rows = found["requests"]["successful"]
    return [(row["time_to_first_token_ms"], row["inter_token_latency_ms"]) for row in rows]


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description="Times of a server by us and by GuideLLM.")
    parser.add_argument("url")
    parser.add_argument("model", type=Path)
    parser.add_argument("--guidellm", required=True, metavar="PROGRAM")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=12)
    options = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(options.model)
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    own_times(options.url, tokenizer, 2, seed=1000)
    for number in range(options.rounds):
        ours += own_times(options.url, tokenizer, options.requests, number)
        theirs += guidellm_times(
            options.guidellm, options.url, options.model, options.requests, number
        )
    print(f"{len(ours)} requests of ours, {len(theirs)} of GuideLLM, in {options.rounds} rounds")
    for place, metric in enumerate(("ttft_ms", "tpot_ms")):
        own, other = _median(ours, place), _median(theirs, place)
        print(f"  {metric}  {own:8.2f}  GuideLLM {other:8.2f}   x {own / other:.3f}")


def _median(rows: Sequence[tuple[float, float]], place: int) -> float:
    return statistics.median(row[place] for row in rows)


if __name__ == "__main__":
    main()
