"""Rules that exclude combinations that can't run, each with its reason."""

from collections.abc import Callable
from dataclasses import dataclass

from .catalog import RUNTIMES, complete, refusal
from .choice import Value
from .hardware import Hardware
from .resources import resources_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The context of a configuration that rules depend on.

    Attributes:
        hardware: The machine that trials run on.
        task: The workload's task.
        parallel_on_cpu: Whether ranks of `tensor_parallel` can run as processes on the CPU.
    """

    hardware: Hardware
    task: str
    parallel_on_cpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that excludes configurations that can't run.

    Attributes:
        name: A short name for records.
        choices: Names of the choices it depends on; an inactive one has its default value.
        reason: Called with the context and the values of `choices`, in their order; returns the
            reason for exclusion, or None.
    """

    name: str
    choices: tuple[str, ...]
    reason: Callable[..., str | None]


def _installed(context: Context, runtime: Value) -> str | None:
    facts = RUNTIMES[str(runtime)]
    missing = [name for name in facts.needs if name not in context.hardware.libraries]
    if not missing:
        return None
    extra = f"; pip install 'tunefront[{facts.extra}]'" if facts.extra else ""
    return f"{', '.join(missing)} not installed{extra}"


def _numerics(
    context: Context, runtime: Value, precision: Value, quantization: Value, device: Value
) -> str | None:
    claim = str(precision), str(quantization)
    return refusal(str(runtime), claim, context.hardware, device=str(device))


def _torchao(context: Context, runtime: Value, quantization: Value) -> str | None:
    if quantization == "none" or runtime not in ("torch", "inductor"):
        return None
    if "torchao" in context.hardware.libraries:
        return None
    return "torchao not installed; pip install 'tunefront[quantization]'"


def _device(context: Context, device: Value, runtime: Value) -> str | None:
    if device not in RUNTIMES[str(runtime)].devices:
        return f"{runtime} runs on {', '.join(sorted(RUNTIMES[str(runtime)].devices))} only"
    if device == "cuda" and not context.hardware.gpus:
        return "no GPU is visible"
    return None


def _cores(context: Context, threads: Value, replicas: Value, tensor_parallel: Value) -> str | None:
    needed = resources_of(
        complete({"threads": threads, "replicas": replicas, "tensor_parallel": tensor_parallel})
    )
    cores = context.hardware.cores
    if needed.cores <= cores:
        return None
    shared = f"{threads} thread{'' if needed.threads == 1 else 's'}"
    shared += f" x {needed.processes} processes" if needed.processes > 1 else ""
    return f"{shared} = {needed.cores} cores, but this machine offers {cores}"


def _ranks(context: Context, tensor_parallel: Value, replicas: Value, device: Value) -> str | None:
    if device == "cuda":
        chosen = {"tensor_parallel": tensor_parallel, "replicas": replicas, "device": device}
        needed, gpus = resources_of(complete(chosen)).gpus, len(context.hardware.gpus)
        return None if needed <= gpus else f"{needed} GPUs needed, but {gpus} are visible"
    if int(tensor_parallel) == 1 or context.parallel_on_cpu:
        return None
    return "needs GPUs; set allow_parallel_on_cpu: true to run the ranks as CPU processes"


def _sharded(
    context: Context,
    tensor_parallel: Value,
    runtime: Value,
    quantization: Value,
    replicas: Value,
    pruning_ratio: Value,
) -> str | None:
    if int(tensor_parallel) == 1:
        return None
    if context.task != "causal-lm":
        return f"tensor parallelism is there for causal-lm, not for {context.task}"
    if runtime != "torch":
        return f"tensor parallelism runs in torch, not in {runtime}"
    if quantization != "none":
        return f"sharded weights can't be quantized to {quantization}"
    if int(replicas) > 1:
        return "replicas of a sharded model are not supported"
    if float(pruning_ratio) > 0:
        return "sharding a pruned model is not supported"
    return None


def _sparse(
    _: Context, pruning_ratio: Value, method: Value, runtime: Value, quantization: Value
) -> str | None:
    if float(pruning_ratio) == 0 or method != "magnitude":
        return None
    if runtime != "openvino" or quantization != "int8-static":
        return "zeros in dense matrices gain nothing; only openvino int8-static stores them packed"
    if float(pruning_ratio) < 0.5:
        return "packed weights gain nothing below half zeros"
    return None


RULES: tuple[Rule, ...] = (
    Rule(name="library", choices=("runtime",), reason=_installed),
    Rule(name="device", choices=("device", "runtime"), reason=_device),
    Rule(
        name="numerics",
        choices=("runtime", "precision", "quantization", "device"),
        reason=_numerics,
    ),
    Rule(name="torchao", choices=("runtime", "quantization"), reason=_torchao),
    Rule(name="cores", choices=("threads", "replicas", "tensor_parallel"), reason=_cores),
    Rule(name="ranks", choices=("tensor_parallel", "replicas", "device"), reason=_ranks),
    Rule(
        name="sharding",
        choices=("tensor_parallel", "runtime", "quantization", "replicas", "pruning_ratio"),
        reason=_sharded,
    ),
    Rule(
        name="sparsity",
        choices=("pruning_ratio", "pruning_method", "runtime", "quantization"),
        reason=_sparse,
    ),
)
"""The built-in rules in order of precedence; the first that excludes a combination counts.

`SearchSpace.enumerate` checks each rule as soon as its choices are decided.
"""
