"""Execution of a built model: batch size, threads, replicas, and tensor parallelism."""

from tunefront.spaces.choice import Value
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension
from tunefront.spaces.resources import resources_of
from tunefront.spaces.rules import Context, Rule

TENSOR_PARALLEL = ChoiceKind(
    name="tensor_parallel",
    stage="runtime",
    default=1,
    help="GPUs (or processes, on the CPU) that share every matrix of one model.",
    low=1,
    high=64,
    whole=True,
    log=True,
    unit="ranks",
    short="tp",
)

BATCH_SIZE = ChoiceKind(
    name="batch_size",
    stage="execution",
    default=1,
    help="Items in one request.",
    low=1,
    high=65_536,
    whole=True,
    log=True,
    unit="items",
    short="b",
    label_default=True,
    read_back="none",
    changes_outputs=False,
    interfaces=frozenset({"tensors"}),
)

THREADS = ChoiceKind(
    name="threads",
    stage="execution",
    default=1,
    help="Threads of one process; a trial requests that many cores.",
    low=1,
    high=1024,
    whole=True,
    log=True,
    unit="threads",
    short="t",
    label_default=True,
    changes_outputs=False,
)

REPLICAS = ChoiceKind(
    name="replicas",
    stage="execution",
    default=1,
    help="Processes with a copy of the model each, sharing one stream of requests.",
    low=1,
    high=256,
    whole=True,
    log=True,
    unit="processes",
    short="r",
    read_back="none",
    changes_outputs=False,
)

CUDA_GRAPHS = ChoiceKind(
    name="cuda_graphs",
    stage="execution",
    default=False,
    help="Whether a GPU gets all kernels of a request by one call, a CUDA graph for each size of "
    "request.",
    words={
        False: "each kernel is launched by itself",
        True: "captured once for each size of request, then replayed",
    },
    short="graphs=",
    changes_outputs=False,
    interfaces=frozenset({"tensors"}),
)


def _cores(context: Context, threads: Value, replicas: Value, tensor_parallel: Value) -> str | None:
    needed = resources_of(
        {
            "threads": threads,
            "replicas": replicas,
            "tensor_parallel": tensor_parallel,
            "device": "cpu",
        }
    )
    cores = context.hardware.cores
    if needed.cores <= cores:
        return None
    shared = f"{threads} thread{'' if needed.threads == 1 else 's'}"
    shared += f" x {needed.processes} processes" if needed.processes > 1 else ""
    quota = context.hardware.limits.cores
    why = f" (CPU quota {quota:g})" if quota is not None and int(quota) <= cores else ""
    return f"{shared} = {needed.cores} cores, but this machine offers {cores}{why}"


def _ranks(context: Context, tensor_parallel: Value, replicas: Value, device: Value) -> str | None:
    if device == "cuda":
        chosen = {"tensor_parallel": tensor_parallel, "replicas": replicas, "device": device}
        needed = resources_of({**chosen, "threads": 1}).gpus
        gpus = len(context.hardware.gpus)
        if int(tensor_parallel) > 1 and any(gpu.partial for gpu in context.hardware.gpus):
            return "NCCL needs whole GPUs, but the visible ones are MIG instances"
        return None if needed <= gpus else f"{needed} GPUs needed, but {gpus} are visible"
    if int(tensor_parallel) == 1 or context.parallel_on_cpu:
        return None
    return "needs GPUs; set allow_parallel_on_cpu: true to run the ranks as CPU processes"


def _sharded(context: Context, tensor_parallel: Value) -> str | None:
    if int(tensor_parallel) == 1 or context.task == "causal-lm":
        return None
    return f"tensor parallelism is supported for causal-lm, not for {context.task}"


EXTENSION = Extension(
    name="execution",
    choices=(TENSOR_PARALLEL, BATCH_SIZE, THREADS, REPLICAS, CUDA_GRAPHS),
    rules=(
        Rule(name="cores", choices=("threads", "replicas", "tensor_parallel"), reason=_cores),
        Rule(name="ranks", choices=("tensor_parallel", "replicas", "device"), reason=_ranks),
        Rule(name="sharding", choices=("tensor_parallel",), reason=_sharded),
    ),
)
