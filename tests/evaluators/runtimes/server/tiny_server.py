"""A server with the OpenAI-compatible interface for Llama models, in numpy; also one with faults.

It starts in half a second, because it imports neither torch nor transformers. A token is computed
for one request at a time; as many requests are in progress as `--max-num-seqs` allows.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

_Array = npt.NDArray[np.float32]
FAULTS = ("exit", "oom", "hang", "crash", "interface", "short", "no-stream", "many", "killed")


class Llama:
    """A model of `LlamaForCausalLM`, evaluated token by token with a KV cache."""

    def __init__(self, folder: Path, levels: int) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = load_file(folder / "model.safetensors")
        self.heads = self.config["num_attention_heads"]
        self.groups = self.heads // self.config["num_key_value_heads"]
        self.size = self.config["hidden_size"] // self.heads
        self.levels = levels

    def tokens(self, prompt: Sequence[int]) -> Iterator[int]:
        """The most likely tokens, without an end."""
        cache: list[list[tuple[_Array, _Array]]] = [
            [] for _ in range(self.config["num_hidden_layers"])
        ]
        scores = np.zeros(1, np.float32)
        for place, token in enumerate(prompt):
            scores = self._step(token, place, cache)
        place = len(prompt)
        while True:
            token = int(scores.argmax())
            yield token
            scores = self._step(token, place, cache)
            place += 1

    def _step(self, token: int, place: int, cache: list[list[tuple[_Array, _Array]]]) -> _Array:
        x = self.weights["model.embed_tokens.weight"][token]
        for layer, known in enumerate(cache):
            name = f"model.layers.{layer}"
            h = self._norm(x, f"{name}.input_layernorm")
            q, k, v = (self._linear(h, f"{name}.self_attn.{one}_proj") for one in "qkv")
            q = self._rotated(q.reshape(self.heads, -1), place)
            k, v = self._rotated(k.reshape(-1, self.size), place), v.reshape(-1, self.size)
            known.append((self._rounded(k), self._rounded(v)))
            keys = np.stack([one for one, _ in known], 1).repeat(self.groups, 0)
            values = np.stack([one for _, one in known], 1).repeat(self.groups, 0)
            products: _Array = np.einsum("hd,htd->ht", q, keys) / np.float32(self.size**0.5)
            shares: _Array = np.exp(products - products.max(1, keepdims=True))
            shares /= shares.sum(1, keepdims=True)
            mixed: _Array = np.einsum("ht,htd->hd", shares, values).reshape(-1)
            x = x + self._linear(mixed, f"{name}.self_attn.o_proj")
            h = self._norm(x, f"{name}.post_attention_layernorm")
            gate, up = (self._linear(h, f"{name}.mlp.{one}_proj") for one in ("gate", "up"))
            active = (gate / (1 + np.exp(-gate)) * up).astype(np.float32)
            x = x + self._linear(active, f"{name}.mlp.down_proj")
        x = self._norm(x, "model.norm")
        scores: _Array = self.weights["lm_head.weight"] @ x
        return scores

    def _linear(self, x: _Array, name: str) -> _Array:
        found: _Array = self.weights[f"{name}.weight"] @ x
        return found

    def _norm(self, x: _Array, name: str) -> _Array:
        scaled = x / np.sqrt(np.mean(x * x) + self.config["rms_norm_eps"])
        found: _Array = scaled.astype(np.float32) * self.weights[f"{name}.weight"]
        return found

    def _rotated(self, x: _Array, place: int) -> _Array:
        half = self.size // 2
        theta = self.config["rope_parameters"]["rope_theta"]
        angles = place * theta ** (-np.arange(half) / half)
        cos, sin = (np.tile(f(angles), 2).astype(np.float32) for f in (np.cos, np.sin))
        turned = np.concatenate([-x[:, half:], x[:, :half]], 1)
        found: _Array = (x * cos + turned * sin).astype(np.float32)
        return found

    def _rounded(self, x: _Array) -> _Array:
        """Numbers of the KV cache, rounded to some levels if it is quantized."""
        if not self.levels:
            return x
        scale = np.abs(x).max() / self.levels
        found: _Array = (np.round(x / scale) * scale).astype(np.float32)
        return found


class Server(ThreadingHTTPServer):
    """The model, its tokenizer and the options."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model = Llama(Path(options.model), {"auto": 0, "fp8": 3}[options.kv_cache_dtype])
        self.tokenizer = Tokenizer.from_file(str(Path(options.model) / "tokenizer.json"))
        self.slots = threading.Semaphore(options.max_num_seqs)
        self.step = threading.Lock()
        self.served = 0
        super().__init__(("127.0.0.1", options.port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing about connections that clients have closed."""


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = "HTTP/1.1"

    @property
    def owner(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._json(200, {})
        elif self.path == "/v1/models" and self.owner.options.fault != "interface":
            self._json(200, {"object": "list", "data": [{"id": "tiny"}]})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        options = self.owner.options
        if isinstance(body.get("prompt"), list) and options.texts_only:
            self._json(422, {"detail": "the prompt must be a string"})
        elif options.fault == "no-stream":
            self._json(200, {"choices": [{"text": "all at once"}]})
        else:
            self._generate(body)

    def _generate(self, body: dict[str, Any]) -> None:
        server, options = self.owner, self.owner.options
        server.served += 1
        if server.served > options.crash_after and options.fault == "crash":
            print("Segmentation fault in kernel 7", flush=True)
            os._exit(77)
        if server.served > options.crash_after and options.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        chat = "messages" in body
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with server.slots:
            made = self._tokens(self._prompt(body), body)
            for token, reason in made:
                self._send(self._event(chat, token, reason, ids=options.token_ids))
        if body.get("stream_options", {}).get("include_usage") and not options.no_usage:
            usage = {"completion_tokens": self.count + (options.fault == "many") * -1}
            self._send(json.dumps({"choices": [], "usage": usage}))
        self._send("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _prompt(self, body: dict[str, Any]) -> list[int]:
        if isinstance(body.get("prompt"), list):
            return list(body["prompt"])
        text = body.get("prompt") or "".join(
            f"<{one['role']}> {one['content']} <end> " for one in body["messages"]
        )
        text += "<assistant>" if "messages" in body else ""
        return list(self.owner.tokenizer.encode(text).ids)

    def _tokens(self, prompt: list[int], body: dict[str, Any]) -> Iterator[tuple[int, str]]:
        """Tokens with the reason of the end, empty before it."""
        server, options = self.owner, self.owner.options
        self.count, wanted = 0, int(body["max_tokens"])
        if options.fault == "short":
            wanted = max(1, wanted // 2)
        made = server.model.tokens(prompt)
        while True:
            with server.step:
                token = next(made)
            time.sleep(options.delay_ms / 1000)
            self.count += 1
            ended = token == server.model.config["eos_token_id"] and not body.get("ignore_eos")
            reason = "stop" if ended else "length" if self.count == wanted else ""
            yield token, reason
            if reason:
                return

    def _event(self, chat: bool, token: int, reason: str, *, ids: bool) -> str:
        words = self.owner.tokenizer.decode([token], skip_special_tokens=True)
        text = f" {words}" if words else ""
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason or None}
        choice |= {"delta": {"content": text}} if chat else {"text": text}
        if ids:
            choice["token_ids"] = [token]
        return json.dumps({"choices": [choice]})

    def _send(self, event: str) -> None:
        data = f"data: {event}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _json(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-num-seqs", type=int, default=4)
    parser.add_argument("--kv-cache-dtype", choices=("auto", "fp8"), default="auto")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--crash-after", type=int, default=2)
    parser.add_argument("--token-ids", action="store_true")
    parser.add_argument("--texts-only", action="store_true")
    parser.add_argument("--no-usage", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--pid-of-worker", help="file to write the id of a further process to")
    options = parser.parse_args()
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.pid_of_worker:  # in a session of its own, as workers of engines are
        sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        Path(options.pid_of_worker).write_text(str(sleeper.pid))
    if options.fault in ("exit", "oom"):
        text = "CUDA out of memory" if options.fault == "oom" else "no such checkpoint"
        sys.exit(f"ValueError: {text}")
    if options.fault == "hang":
        time.sleep(1000)
    Server(options).serve_forever()


if __name__ == "__main__":
    main()
