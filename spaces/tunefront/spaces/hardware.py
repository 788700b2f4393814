"""Properties of this machine: cores, instruction sets, memory, GPUs, libraries."""

import hashlib
import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

LIBRARIES = (
    "torch",
    "torchao",
    "transformers",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "nncf",
    "tokenizers",
    "numpy",
    "tunefront",
)
"""Libraries that determine what can run and what comes out, by distribution name."""

VARIABLES = (
    "ATEN_",
    "CUBLAS_",
    "DNNL_",
    "GOMP_",
    "KMP_",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "OPENVINO_",
    "ORT_",
    "TORCHINDUCTOR_",
)
"""Beginnings of environment variables by which libraries choose kernels, memory and threads."""
_WITHOUT_EFFECT = frozenset(
    {
        "KMP_DUPLICATE_LIB_OK",  # set by scikit-learn when it is imported
        "KMP_INIT_AT_FORK",  # likewise
        "MKL_NUM_THREADS",  # the number of threads is a choice
        "OMP_NUM_THREADS",  # likewise; Ray sets it
        "TORCHINDUCTOR_CACHE_DIR",
        "TORCHINDUCTOR_COMPILE_THREADS",
    }
)

INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "bf16",
    "i8mm",
)
"""Instruction sets that matter for low precision, as in /proc/cpuinfo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU: its name, its memory in MB, its CUDA compute capability."""

    name: str
    memory_mb: int
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A machine, described by the properties that optimization choices depend on.

    Attributes:
        cpu: Name of the processor.
        cores: Number of cores available to this process.
        memory_mb: Memory of the machine or container in MB.
        isa: Instruction sets that matter for low precision.
        gpus: The visible GPUs.
        libraries: Versions of the installed libraries, by distribution name.
        variables: Environment variables that libraries read; see `VARIABLES`.
    """

    cpu: str
    cores: int
    memory_mb: int
    isa: frozenset[str] = frozenset()
    gpus: tuple[Gpu, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def fingerprint(self) -> str:
        """An id of the kind of machine; measurements of different fingerprints are never mixed."""
        parts = [self.cpu, str(self.cores), *sorted(self.isa), *(gpu.name for gpu in self.gpus)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    @property
    def int8_products_saturate(self) -> bool:
        """Whether sums of products of unsigned and signed 8-bit integers saturate at 16 bits.

        x86 without VNNI adds two products in 16 bits (VPMADDUBSW): 2 x 255 x 127 overflows, whereas
        with 7-bit weights every sum fits. VNNI, AMX and ARM add in 32 bits.
        """
        return not self.isa & {"avx512_vnni", "avx_vnni", "amx_int8", "asimd"}

    def summary(self) -> str:
        """Return a one-line description."""
        count = Counter(gpu.name for gpu in self.gpus)
        named = [name if number == 1 else f"{number} x {name}" for name, number in count.items()]
        gpus = ", ".join(named) or "no GPU"
        cores = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        return f"{self.cpu}, {cores}, {self.memory_mb / 1024:.0f} GiB, {gpus}"


def _cpu() -> tuple[str, frozenset[str]]:
    """Return name and instruction sets from /proc/cpuinfo; without it, the name from `platform`."""
    source = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if source.exists():
        for line in source.read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return " ".join(name.split()), frozenset(flags.intersection(INSTRUCTION_SETS))


def _memory_mb() -> int:
    """Return the memory of the machine in MB, or the control group's limit if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return total // 2**20


def _capability(pair: Sequence[int]) -> tuple[int, int]:
    return int(pair[0]), int(pair[1])


def _gpus() -> tuple[Gpu, ...]:
    """Return the GPUs reported by NVML and in CUDA_VISIBLE_DEVICES; none without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        found = [
            Gpu(
                name=str(pynvml.nvmlDeviceGetName(handle)),
                memory_mb=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20,
                capability=_capability(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
            )
            for handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(found)
    indices = [int(part) for part in visible.split(",") if part.strip().isdigit()]
    return tuple(found[i] for i in indices if i < len(found))


def _libraries() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(VARIABLES) and name not in _WITHOUT_EFFECT
    }


@cache
def detect_hardware() -> Hardware:
    """Return the properties of this machine; reads files and NVML, imports no framework."""
    name, isa = _cpu()
    return Hardware(
        cpu=name,
        cores=len(os.sched_getaffinity(0)),
        memory_mb=_memory_mb(),
        isa=isa,
        gpus=_gpus(),
        libraries=MappingProxyType(_libraries()),
        variables=MappingProxyType(_variables()),
    )
