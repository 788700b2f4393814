"""Starter experiment file, with the choices that this machine can run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.interfaces.generation import Generation
from tunefront.evaluators.interfaces.generation.metrics import OUTPUT_TOKENS_PER_SECOND
from tunefront.evaluators.interfaces.polled.metrics import REQUESTS_PER_SECOND
from tunefront.evaluators.measures.gpu_memory import GPU_MEMORY
from tunefront.evaluators.runtimes.server.extension import NAME as SERVER
from tunefront.evaluators.workloads.spec import HTTP
from tunefront.spaces import (
    Catalog,
    ExperimentError,
    Hardware,
    Value,
    detect_hardware,
    did_you_mean,
    preset_space,
    show,
    supported_formats,
)

from .yaml_reader import parse_yaml

_QUALITY = {
    "text-generation": "kl_divergence: minimize",
    "causal-lm": "perplexity: minimize",
    "text-embedding": "recall_at_1: maximize",
    "text-classification": "accuracy: maximize",
    "image-classification": "accuracy: maximize",
    "custom": "score: maximize",
    HTTP: "response_agreement: maximize",
}
_OFFERED: dict[str, tuple[Value, ...]] = {
    "precision": ("fp32", "bf16"),
    "quantization_bits": (16, 8),
    "quantization_method": ("dynamic", "static", "rtn"),
}
"""Values of number formats that a starter offers where this processor can run them."""
_GPU_PRESET = "cuda-inference"
"""The preset whose values a starter offers where this machine's GPUs can run them."""
_GPU_BASELINE = ("bf16", "fp16", "fp32")
"""Precisions of the baseline on a GPU; the first that it can run is the one that is deployed."""
_LOAD = "  load: {concurrency: 4, input_tokens: 128, output_tokens: 32}\n"
_ROWS = {
    "text-generation": "rows with `prompt` (a text or chat messages) and perhaps `answer`",
    "causal-lm": "rows with `text`",
    "text-embedding": "rows with `query` and `document`",
    "text-classification": "rows with `text` and `label`",
    "image-classification": "rows with `image` (a path) and `label`",
}


def write_starter(path: Path, *, task: str, model: str, data: str) -> None:
    """Write a starter experiment file, for the GPUs of this machine if it has any.

    Args:
        path: File to write; parent folders are created.
        task: Task of the workload.
        model: Model folder, hub id or, for a custom task, `module:function`; unused for `http`.
        data: Data file or folder; unused for a custom task.

    Raises:
        ExperimentError: If the file exists, or the task is unknown.
    """
    if task not in (tasks := builtin_catalog().names("workload")):
        raise ExperimentError(f"--task: unknown value {task!r}{did_you_mean(task, tasks)}")
    if path.exists():
        raise ExperimentError(f"{path} exists already; name another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(task, model, data), encoding="utf-8")


def _text(task: str, model: str, data: str) -> str:
    hardware = detect_hardware()
    catalog = builtin_catalog()
    if task == HTTP:
        choices = _of_service()
    elif Generation.name in catalog.extension(task).interfaces:
        choices = _engines_on_gpu(catalog, hardware, task) or _of_engines(catalog, hardware, task)
    else:
        choices = _on_gpu(catalog, hardware) or _on_processor(catalog, hardware, task)
    return f"""\
# Workload, search space, objectives and limits. `tunefront run FILE --dry-run` prints the plan;
# `tunefront doctor --choices` lists every choice.
name: my {task}

workload:
  task: {task}
{_workload(task, model, data)}
{choices.load}
space:
{choices.space}

baseline: {{{choices.baseline}}}

objectives:
  {choices.speed}: maximize
  {choices.memory}: minimize
  {_QUALITY[task]}

limits: {{quality_drop: "<= 1%"}}

budget: {{trials: 40, hours: 4}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choices:
    """The lines of a starter that depend on task and device.

    Attributes:
        space: Lines of the space.
        baseline: Choices of the baseline.
        memory: Metric of memory to minimize.
        speed: Metric of speed to maximize.
        load: Lines of the load, after those of the workload.
    """

    space: str
    baseline: str
    memory: str
    speed: str = "throughput"
    load: str = ""


def _on_processor(catalog: Catalog, hardware: Hardware, task: str) -> _Choices:
    installed = [name for name in catalog.runtimes(task) if not catalog.missing(name, hardware)]
    threads = _threads(hardware)
    lines = _processor_lines(catalog, hardware, installed, "batch_size: [1, 8, 32]")
    return _Choices(
        space="\n".join(lines),
        baseline=f"runtime: torch, precision: fp32, batch_size: 1, threads: {threads[-1]}",
        memory="peak_memory_mb",
    )


def _of_engines(catalog: Catalog, hardware: Hardware, task: str) -> _Choices:
    """Return the choices of a task that generates text, on the processor."""
    engines = [name for name in catalog.runtimes(task) if name != SERVER]
    installed = [name for name in engines if not catalog.missing(name, hardware)]
    threads = _threads(hardware)
    baseline = f"runtime: {(installed or engines)[0]}, precision: fp32, max_batch: 1"
    return _Choices(
        space="\n".join(_processor_lines(catalog, hardware, installed, "max_batch: [1, 4, 16]")),
        baseline=f"{baseline}, threads: {threads[-1]}",
        memory="peak_memory_mb",
        speed=OUTPUT_TOKENS_PER_SECOND.name,
        load=_LOAD,
    )


def _engines_on_gpu(catalog: Catalog, hardware: Hardware, task: str) -> _Choices | None:
    """Return the choices of a task that generates text, for this machine's GPUs; None without."""
    engines = [name for name in catalog.runtimes(task) if name != SERVER]
    able = _able_on_gpu(catalog, hardware, engines)
    if not able:
        return None
    offered = preset_space(_GPU_PRESET, catalog, hardware)
    formats = {"precision": tuple(_listed(offered["precision"]))}
    lines = ["  device: [cuda]", f"  runtime: [{', '.join(able)}]"]
    lines += _format_lines(catalog, hardware, able, formats, "cuda")
    precision = next(one for one in _GPU_BASELINE if one in formats["precision"])
    return _Choices(
        space="\n".join([*lines, "  max_batch: [1, 4, 16, 64]"]),
        baseline=f"device: cuda, runtime: {able[0]}, precision: {precision}, max_batch: 1",
        memory=GPU_MEMORY.name,
        speed=OUTPUT_TOKENS_PER_SECOND.name,
        load=_LOAD,
    )


def _of_service() -> _Choices:
    """Return the choices of a service over HTTP: a placeholder of its command."""
    return _Choices(
        space="  workers: {values: [1, 2]}",
        baseline="workers: 1",
        memory="peak_memory_mb",
        speed=REQUESTS_PER_SECOND.name,
        load="  load: {concurrency: 4}\n",
    )


def _processor_lines(
    catalog: Catalog, hardware: Hardware, installed: Sequence[str], batch: str
) -> list[str]:
    formats = _format_lines(catalog, hardware, installed, _OFFERED, "cpu")
    runtimes = f"  runtime: [{', '.join(installed)}]"
    return [runtimes, *formats, f"  {batch}", f"  threads: {_threads(hardware)}"]


def _threads(hardware: Hardware) -> list[int]:
    return [n for n in (1, 2, 4, 8, 16, 32) if n <= hardware.leasable_cores]


def _on_gpu(catalog: Catalog, hardware: Hardware) -> _Choices | None:
    """Return the choices for this machine's GPUs; None if it has none that a runtime can use."""
    preset = preset_space(_GPU_PRESET, catalog, hardware)
    offered = {name: tuple(_listed(values)) for name, values in preset.items()}
    able = _able_on_gpu(catalog, hardware, map(str, offered["runtime"]))
    if not able:
        return None
    formats = {name: offered[name] for name in _OFFERED}
    lines = ["  device: [cuda]", f"  runtime: [{', '.join(able)}]"]
    lines += _format_lines(catalog, hardware, able, formats, "cuda")
    for name in ("max_autotune", "batch_size", "cuda_graphs"):
        values = [one for one in offered[name] if _runs(catalog, hardware, able, {name: one})]
        if len(values) > 1:
            lines.append(f"  {name}: [{', '.join(map(show, values))}]")
    precision = next(one for one in _GPU_BASELINE if one in offered["precision"])
    return _Choices(
        space="\n".join(lines),
        baseline=f"device: cuda, runtime: {able[0]}, precision: {precision}, batch_size: 1",
        memory=GPU_MEMORY.name,
    )


def _able_on_gpu(catalog: Catalog, hardware: Hardware, runtimes: Iterable[str]) -> list[str]:
    """Return the installed runtimes among some that this machine's GPUs can be used with."""
    return [
        name
        for name in runtimes
        if hardware.gpus
        and not catalog.missing(name, hardware)
        and supported_formats(catalog, name, hardware, device="cuda")
    ]


def _runs(
    catalog: Catalog, hardware: Hardware, runtimes: Sequence[str], values: Mapping[str, Value]
) -> bool:
    """Return whether one of the runtimes supports values of choices on this machine's GPUs."""
    on_gpu = ({"device": "cuda", "runtime": name, **values} for name in runtimes)
    return any(catalog.refusal(one, hardware) is None for one in on_gpu)


def _listed(values: object) -> list[Value]:
    return list(values) if isinstance(values, list | tuple) else []


def _format_lines(
    catalog: Catalog,
    hardware: Hardware,
    runtimes: Sequence[str],
    offered: Mapping[str, tuple[Value, ...]],
    device: str,
) -> list[str]:
    """Return a line for each choice of the number format, with the values that can run."""
    runnable = [
        values
        for name in runtimes
        for values in supported_formats(catalog, name, hardware, device=device)
    ]
    return [
        f"  {name}: [{', '.join(_runnable(name, values, runnable))}]"
        for name, values in offered.items()
    ]


def _runnable(
    name: str, offered: Sequence[Value], formats: Sequence[Mapping[str, Value]]
) -> list[str]:
    """Return the offered values of a choice that some runnable number format has."""
    return [show(value) for value in offered if any(one.get(name) == value for one in formats)]


def _scalar(text: str) -> str:
    """Return a text as YAML: quoted if it would otherwise be read as something else."""
    try:
        _, value = parse_yaml(text)
    except yaml.YAMLError:
        value = None
    if value == text:
        return text
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**9)).strip()


def _workload(task: str, model: str, data: str) -> str:
    if task == "custom":
        named = model if ":" in model else "my_model:model"
        return f"""\
  model: {_scalar(named)}          # package.module:function, returns a torch.nn.Module
  inputs: my_model:inputs        # (batch_size, count) -> list of {{name: array}}
  quality: my_model:quality      # (run) -> a number, or one an item
  metric: score
  direction: maximize
  architecture: other            # or decoder, encoder, vision: how its graphs may be fused"""
    if task == HTTP:
        return f"""\
  server:                        # {{port}} is a free port, {{workers}} a choice of the space
    command: "python {{folder}}/serve.py --port {{port}} --workers {{workers}}"
    ready: /health               # the path that has status 200 when it is ready
  request:
    path: /v1/embeddings
    body: {{input: "{{text}}"}}      # {{column}} is the value of a row
  response: data.0.embedding     # the value in the JSON response; without it the whole response
  data: {_scalar(data)}      # rows with the columns, and perhaps `answer`: .jsonl or .csv"""
    return f"""\
  model: {_scalar(model)}    # a folder or a hub id; safetensors only
  data: {_scalar(data)}      # {_ROWS[task]}: .jsonl, .csv, .parquet or .txt"""
