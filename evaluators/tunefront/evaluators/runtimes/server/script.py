"""The scripts of an export: one that starts the server and calls it, one that only starts it."""

import re
import shlex
from collections.abc import Sequence

from tunefront.evaluators.interfaces.generation import ServerSpec
from tunefront.evaluators.interfaces.polled.server_spec import MODEL_FOLDER, PORT

from .protocol import PATHS

SERVE = "serve.sh"
_LEFT = re.compile(rf"(\{{(?:{PORT}|{MODEL_FOLDER})\}})")
_SHELL = {f"{{{PORT}}}": '"$PORT"', f"{{{MODEL_FOLDER}}}": '"$HERE/model"'}


def serve_script(words: Sequence[str], *, on_cpu: bool) -> str:
    """Return a shell script that starts the server on a port.

    Args:
        words: The words of the command, with placeholders for the port and the model's folder.
        on_cpu: Whether GPUs are hidden from it.
    """
    command = " ".join(_quoted(word) for word in words)
    hidden = "export CUDA_VISIBLE_DEVICES=\n" if on_cpu else ""
    return f"""#!/bin/sh
# Starts the server as it was measured: sh {SERVE} [PORT]
HERE="$(cd "$(dirname "$0")" && pwd)"
PORT="${{1:-8000}}"
{hidden}exec {command}
"""


def _quoted(word: str) -> str:
    parts = (part for part in _LEFT.split(word) if part)
    return "".join(_SHELL.get(part) or shlex.quote(part) for part in parts)


def run_script(spec: ServerSpec, words: Sequence[str], threads: int, *, on_cpu: bool) -> str:
    """Return a Python script that starts the server, and generates by it.

    Args:
        spec: How the server is called.
        words: The words of the command, with placeholders for the port and the model's folder.
        threads: Cores that it was measured on.
        on_cpu: Whether GPUs are hidden from it.
    """
    about = (
        "Generates text with the measured server. Needs its program, and transformers for texts."
    )
    head = _BEGINNING.format(about=about, imports="import functools\n", command=list(words))
    constants = _FORM.format(
        chat=spec.api == "chat", as_text=spec.api == "chat" or spec.prompts == "text"
    )
    start = _start(spec, threads, on_cpu=on_cpu)
    return head + constants + start + _GENERATE.format(path=PATHS[spec.api])


def http_run_script(spec: ServerSpec, words: Sequence[str], threads: int, *, on_cpu: bool) -> str:
    """Return a Python script that starts the server, and sends it a request; see `run_script`."""
    about = "Sends requests to the measured server. Needs its program."
    head = _BEGINNING.format(about=about, imports="", command=list(words))
    return head + _start(spec, threads, on_cpu=on_cpu) + _CALL.format(api_key=spec.api_key)


def _start(spec: ServerSpec, threads: int, *, on_cpu: bool) -> str:
    """Return the functions that start and stop the server."""
    hidden = '{"CUDA_VISIBLE_DEVICES": ""}' if on_cpu else "{}"
    return _START.format(ready=spec.ready, start_s=spec.start_s, threads=threads, hidden=hidden)


_BEGINNING = '''\
"""{about}"""
import atexit
{imports}import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
COMMAND = {command}
'''
_FORM = '''\
CHAT = {chat}
"""Whether the server applies the chat template itself."""
AS_TEXT = {as_text}
"""Whether prompts are sent as texts."""
'''
_START = '''\


def load():
    """Start the server as it was measured; return its address when it is ready."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{threads}])
    given = {{"{{port}}": str(port), "{{model}}": str(HERE / "model")}}
    command = COMMAND
    for name, value in given.items():
        command = [word.replace(name, value) for word in command]
    server = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        env={{**os.environ, **{hidden}}},
        start_new_session=True,
    )
    atexit.register(stop, server)
    address = f"http://127.0.0.1:{{port}}"
    deadline = time.monotonic() + {start_s}
    while not answers(address + "{ready}"):
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"The server is not ready; its exit code: {{server.poll()}}.")
        time.sleep(0.1)
    return address


def stop(server):
    """End the server and its processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def answers(address):
    """Whether an address answers with status 200."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
'''
_GENERATE = '''

@functools.cache
def tokenizer():
    """The model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(HERE / "tokenizer", local_files_only=True)


def text_of(prompt):
    """The text of token ids, without a first token that every text begins with."""
    first = tokenizer().bos_token_id
    return tokenizer().decode(prompt[1:] if prompt[:1] == [first] else prompt)


def stream(model, prompt, new_tokens, natural=True):
    """Token ids in, token ids out, one by one; up to the natural end, or exactly as many."""
    with urllib.request.urlopen(model + "/v1/models") as answer:
        name = json.load(answer)["data"][0]["id"]
    given = text_of(list(prompt)) if AS_TEXT else list(prompt)
    asked = {{"messages": [{{"role": "user", "content": given}}]}} if CHAT else {{"prompt": given}}
    body = {{
        "model": name,
        **asked,
        "max_tokens": new_tokens,
        "temperature": 0,
        "stream": True,
        "ignore_eos": not natural,
        "return_token_ids": True,
    }}
    request = urllib.request.Request(
        model + "{path}", json.dumps(body).encode(), {{"Content-Type": "application/json"}}
    )
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            event = line.decode().partition("data:")[2].strip()
            if event and event != "[DONE]":
                yield from tokens_in(json.loads(event))


def tokens_in(event):
    """The token ids of an event; those of its text if the server sends none."""
    choice = (event.get("choices") or [{{}}])[0]
    delta = choice.get("delta") or {{}}
    text = choice.get("text") or delta.get("content") or delta.get("reasoning_content")
    if choice.get("token_ids") or not text:
        return choice.get("token_ids") or []
    return tokenizer()(text, add_special_tokens=False)["input_ids"][:1] or [0]


def run(model, prompt, new_tokens):
    """Token ids in, a list of token ids out."""
    return list(stream(model, prompt, new_tokens, natural=False))
'''
_CALL = '''

def run(address, request):
    """A request in, the value at its path into the response out."""
    headers = {{"Content-Type": "application/json", **request["headers"]}}
    key = os.environ.get("{api_key}")
    if key:
        headers["Authorization"] = f"Bearer {{key}}"
    sent = urllib.request.Request(
        address + request["path"],
        request["body"].encode() or None,
        headers,
        method=request["method"],
    )
    with urllib.request.urlopen(sent) as answer:
        value = json.load(answer)
    for name in filter(None, request["response"].split(".")):
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value
'''
