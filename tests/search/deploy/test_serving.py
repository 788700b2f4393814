"""The Dockerfile and the README's part of it.

There is no docker where these tests run: what is looked at is the file's form, its exact versions,
its user and its command; no image is built.
"""

import importlib.metadata
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import CandidateRecord, builtin_catalog, deployment_of
from tunefront.evaluators.runtimes.base import Deployment
from tunefront.search.deploy.serving import (
    dockerfile,
    serving_text,
    serving_versions,
)
from tunefront.spaces import Configuration

VERSIONS = {
    **{"torch": "2.13.0+cpu", "onnxruntime": "1.32.0", "openvino": "2026.4.0"},
    **{"numpy": "2.4.0", "fastapi": "0.165.0", "uvicorn": "0.54.0", "python": "3.11.7"},
}


def deployment(runtime: str, ranks: int = 1, device: str = "cpu") -> Deployment:
    catalog = builtin_catalog()
    values = catalog.complete({"runtime": runtime, "tensor_parallel": ranks, "device": device})
    record = CandidateRecord(
        configuration=catalog.up_to(values, "runtime"),
        settings={"options": {}},
        parameters=1,
        reference_parameters=1,
        execution=Configuration({"threads": 1}),
    )
    return deployment_of(Path(), record)


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments of every line, continued lines joined."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def written(runtime: str, **versions: str) -> dict[str, Any]:
    found = instructions(dockerfile(deployment(runtime), {**VERSIONS, **versions}, "mine"))
    return {name: [rest for word, rest in found if word == name] for name, _ in found}


@pytest.mark.parametrize("runtime", builtin_catalog().runtimes("custom"))
def test_versions_are_exact_and_the_user_is_not_root(runtime: str) -> None:
    found = written(runtime)
    known = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert set(found) == known
    assert found["FROM"] == ["python:3.11-slim"]
    (install,) = [line for line in found["RUN"] if line.startswith("pip")]
    pinned = [word for word in install.split() if "==" in word]
    needed = (*deployment(runtime).requirements, "numpy", "fastapi", "uvicorn")
    assert pinned == [f"{name}=={VERSIONS[name]}" for name in needed]
    assert found["USER"] == ["serve"]
    assert any("useradd" in line and line.endswith(" serve") for line in found["RUN"])
    command = json.loads(found["CMD"][0])
    assert command[:2] == ["python", "serve.py"]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    health = json.loads(found["HEALTHCHECK"][0].split("CMD ", 1)[1])
    compile(health[2], "health", "exec")
    assert "/health" in health[2]


def test_torch_comes_from_where_its_build_is() -> None:
    (install,) = [line for line in written("torch")["RUN"] if line.startswith("pip")]
    assert "--extra-index-url https://download.pytorch.org/whl/cpu " in install
    plain = written("torch", torch="2.13.0")["RUN"]
    assert "index-url" not in " ".join(plain)
    assert "index-url" not in " ".join(written("onnxruntime")["RUN"])


def test_compiled_code_gets_its_openmp() -> None:
    assert any("libgomp1" in line for line in written("inductor")["RUN"])
    assert not any("libgomp1" in line for line in written("torch")["RUN"])


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
def test_a_container_gets_the_gpus_that_the_model_needs(runtime: str) -> None:
    for device, needed in (("cuda", True), ("cpu", False)):
        deployed = deployment(runtime, device=device)
        text, readme = dockerfile(deployed, VERSIONS, "mine"), serving_text(deployed)
        assert ("docker run --rm --gpus all -p" in text) is needed
        assert ("docker run --rm --gpus all -p" in readme) is needed
        assert ("NVIDIA Container Toolkit" in readme) is needed
    compiled = serving_text(deployment("inductor", device="cuda"))
    assert "compiled for the processor and the kind of GPU above" in compiled


def test_versions_are_those_installed_here() -> None:
    found = serving_versions(deployment("torch"))
    assert set(found) == {"torch", "numpy", "fastapi", "uvicorn"}
    assert found["fastapi"] == importlib.metadata.version("fastapi")


def test_the_readme_says_how_to_serve_and_what_can_not_be() -> None:
    text = serving_text(deployment("torch"))
    assert "pip install torch numpy fastapi uvicorn" in text
    assert "docker build" in text
    assert "compiled for the processor" in serving_text(deployment("inductor"))
    shared = serving_text(deployment("torch", ranks=2))
    assert shared.startswith("There is no `serve.py`: 2 processes share this model")
    assert "torchrun --nproc-per-node 2 run.py" in shared


def test_the_readme_of_a_model_that_writes_text_has_requests() -> None:
    deployed = Deployment(script="", requirements=("openvino-genai", "transformers"))
    text = serving_text(deployed, "chat")
    assert "pip install openvino-genai transformers numpy fastapi uvicorn" in text
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health"):
        assert path in text
    assert "/predict" not in text
    bodies = [line.strip()[4:-1] for line in text.splitlines() if line.startswith("        -d '")]
    assert [set(json.loads(body)) for body in bodies] == [
        {"messages", "max_tokens"},
        {"prompt", "max_tokens", "stream"},
    ]
    plain = serving_text(deployed, "plain")
    assert "messages" not in plain and "docker run --rm -p" in plain
    assert "--gpus all" in serving_text(replace(deployed, gpu=True), "plain")
    reason = replace(deployed, not_served="a reason")
    assert serving_text(reason, "chat") == "There is no `serve.py`: a reason.\n"
