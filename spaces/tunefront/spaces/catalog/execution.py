"""Execution of a built model: batch size, threads, replicas, and tensor parallelism."""

from .kind import ChoiceKind

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
)

THREADS = ChoiceKind(
    name="threads",
    stage="execution",
    default=1,
    help="Threads of one process; a trial asks for that many cores.",
    low=1,
    high=1024,
    whole=True,
    log=True,
    unit="threads",
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
)

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
)
