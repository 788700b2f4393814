"""Serving of an export: a Dockerfile with exact versions, and the README's section about it."""

import importlib.metadata
from collections.abc import Mapping
from typing import Literal

from tunefront.evaluators.runtimes.base import Deployment
from tunefront.spaces.machine.distributions import distribution_of

DOCKERFILE = "Dockerfile"
Texts = Literal["plain", "chat"]
"""How a model takes texts: as they are only, or also as chat messages."""
SERVES_WITH = ("numpy", "fastapi", "uvicorn")
_WHEELS = "https://download.pytorch.org/whl"
_TEMPLATE = """\
# Serves the exported model:
#   docker build -t {tag} . && docker run --rm{gpus} -p 127.0.0.1:8000:8000 {tag}
FROM python:{python}-slim
{system}RUN pip install --no-cache-dir{index} \\
    {pinned}
RUN useradd --system --uid 10001 serve
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /model
COPY --chown=serve . .
USER serve
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD {health}
CMD ["python", "serve.py", "--host", "0.0.0.0", "--port", "8000"]
"""
_HEALTH = (
    '["python", "-c", "import urllib.request as r; '
    "r.urlopen('http://127.0.0.1:8000/health', timeout=4)\"]"
)
_CHAT = """\
    curl -H "Content-Type: application/json" http://127.0.0.1:8000/v1/chat/completions \\
        -d '{"messages": [{"role": "user", "content": "Name a planet."}], "max_tokens": 32}'
"""
"""Lines of the README about chat messages."""
_GPUS = " --gpus all"
"""Option of `docker run` without which a container sees no GPU."""
_COMPILED = """\
# Code compiled by Inductor needs the system's OpenMP.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \\
    && rm -rf /var/lib/apt/lists/*
"""


def serving_versions(deployment: Deployment) -> dict[str, str]:
    """Return the installed versions of what the export and its server need."""
    names = (*deployment.requirements, *SERVES_WITH)
    return {name: importlib.metadata.version(distribution_of(name)) for name in names}


def dockerfile(deployment: Deployment, versions: Mapping[str, str], tag: str) -> str:
    """Return the Dockerfile of an image that serves the export.

    Args:
        deployment: How the export runs.
        versions: Versions from the manifest: of the runtime, the serving libraries and Python.
        tag: The image's name in the Dockerfile's comment.
    """
    names = dict.fromkeys((*deployment.requirements, *SERVES_WITH))
    local = versions["torch"].partition("+")[2] if "torch" in names else ""
    return _TEMPLATE.format(
        tag=tag,
        gpus=_GPUS if deployment.gpu else "",
        python=".".join(versions["python"].split(".")[:2]),
        system=_COMPILED if deployment.compiled else "",
        index=f" --extra-index-url {_WHEELS}/{local}" if local else "",
        pinned=" ".join(f"{name}=={versions[name]}" for name in names),
        health=_HEALTH,
    )


def serving_text(deployment: Deployment, texts: Texts | None = None) -> str:
    """Return the README's section about serving.

    Args:
        deployment: How the export runs.
        texts: How the model takes texts; None if it does not write text.
    """
    if deployment.not_served:
        return f"There is no `serve.py`: {deployment.not_served}.\n"
    if texts:
        return _text_server(deployment, texts)
    compiled = _compiled_text(deployment)
    gpus = _GPUS if deployment.gpu else ""
    return f"""\
    pip install {" ".join(dict.fromkeys((*deployment.requirements, *SERVES_WITH)))}
    python serve.py                              # http://127.0.0.1:8000; see --help
    python serve.py --example > request.json     # the recorded request
    curl -H "Content-Type: application/json" --data @request.json \\
        http://127.0.0.1:8000/predict

`GET /health` describes what is served and its inputs (`inputs.json`). `POST /predict`
takes `{{"inputs": {{name: lists}}}}` and returns `{{"outputs": [lists]}}`, one request after the
other, as it was measured; 422 explains what is wrong with a request, 413 means
that it is too large, 408 that it came too slowly, 503 that too many wait. There are neither users
nor encryption: without `--host` only this machine can connect. Requests have to name `--host`,
`localhost` or an `--allow-host NAME` as their Host; with `--host 0.0.0.0` also any address in
digits.

    docker build -t model . && docker run --rm{gpus} -p 127.0.0.1:8000:8000 model

builds an image with these very versions, which serves as a user without rights.
{compiled}{_gpu_text(deployment)}"""


def _text_server(deployment: Deployment, texts: Texts) -> str:
    """Return the section about the server of a model that writes text."""
    gpus = _GPUS if deployment.gpu else ""
    chat = _CHAT if texts == "chat" else ""
    return f"""\
    pip install {" ".join(dict.fromkeys((*deployment.requirements, *SERVES_WITH)))}
    python serve.py                              # http://127.0.0.1:8000; see --help
{chat}    curl -N -H "Content-Type: application/json" http://127.0.0.1:8000/v1/completions \\
        -d '{{"prompt": "The capital of France is", "max_tokens": 16, "stream": true}}'

The interface is that of OpenAI: `/v1/completions` and `/v1/chat/completions`, also with
`stream: true` and `stream_options: {{"include_usage": true}}`, `/v1/models` and `/health`. A client
such as `openai` works with `base_url="http://127.0.0.1:8000/v1"` and any key.

- Decoding is greedy, as it was measured. A `temperature` above 0, `n` above 1, `logprobs`, tools
  and other parameters that are not offered are answered with 400 and the name of the parameter.
- Requests are decoded together as the engine allows. One whose client closes the connection ends.
- A response ends at the model's end token, at a text of `stop`, or after `max_tokens` tokens.
  Without the parameter `/v1/completions` generates 16, and chat up to the end of the context.
- 400 explains what is wrong with a request; 404 means another model, 413 too large, 408 too slow,
  503 that too many wait. There are neither users nor encryption: without `--host` only this
  machine can connect. Requests have to name `--host`, `localhost` or an `--allow-host NAME` as
  their Host; with `--host 0.0.0.0` also any address in digits.
- The values below were measured without HTTP, under the load of the experiment.

    docker build -t model . && docker run --rm{gpus} -p 127.0.0.1:8000:8000 model

builds an image with these very versions, which serves as a user without rights.
{_compiled_text(deployment)}{_gpu_text(deployment)}"""


def _compiled_text(deployment: Deployment) -> str:
    if not deployment.compiled:
        return ""
    if deployment.gpu:
        return "\nThe code was compiled for the processor and the kind of GPU above.\n"
    return "\nThe code was compiled for the processor above and needs its instructions.\n"


def _gpu_text(deployment: Deployment) -> str:
    if not deployment.gpu:
        return ""
    return (
        "\nThe container needs an NVIDIA GPU, its driver on the host, and the NVIDIA Container "
        "Toolkit,\nwhich provides `--gpus all`.\n"
    )
