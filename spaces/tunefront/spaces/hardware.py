"""Properties of this machine: cores, instruction sets, memory, GPUs, libraries."""

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

from .machine.control_groups import Limits, control_group_limits
from .machine.distributions import installed_versions
from .machine.gpus import Gpu, find_gpus
from .machine.topology import CPUS, physical_cores, whole_cores, within_quota

LIBRARIES = (
    "torch",
    "torchao",
    "transformers",
    "onnx",
    "onnxruntime",
    "onnxruntime-genai",
    "onnxscript",
    "openvino",
    "openvino-genai",
    "nncf",
    "tokenizers",
    "numpy",
    "triton",
    "tunefront",
)
"""Libraries that determine what can run and what comes out, by distribution name."""

VARIABLES = (
    "ATEN_",
    "CUBLAS_",
    "CUDA_LAUNCH_BLOCKING",
    "DNNL_",
    "GOMP_",
    "KMP_",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "NCCL_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "OPENVINO_",
    "ORT_",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCHINDUCTOR_",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Beginnings of environment variables by which libraries choose kernels, memory and threads."""
_WITHOUT_EFFECT = frozenset(
    {
        "KMP_DUPLICATE_LIB_OK",  # set by scikit-learn when it is imported
        "KMP_INIT_AT_FORK",  # likewise
        "MKL_NUM_THREADS",  # the number of threads is a choice
        "NCCL_DEBUG",
        "NCCL_DEBUG_FILE",
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
class Hardware:
    """A machine, described by the properties that optimization choices depend on.

    Attributes:
        cpu: Name of the processor.
        cores: Number of CPUs that this process can use at the same time, hyperthreads included; at
            most the CPU quota of its control groups.
        memory_mb: Memory of the machine or container in MB.
        physical_cores: Number of physical cores among them; None if there are no hyperthreads.
        limits: Limits of the control groups, which `cores` and `memory_mb` respect.
        isa: Instruction sets that matter for low precision.
        gpus: The visible GPUs that trials can use, all of one kind.
        gpu_problems: Why other GPUs can't be used, a text each; and why none is found.
        libraries: Versions of the installed libraries, by distribution name; see `SUBSTITUTES` for
            those that count as another one. That of the GPUs' driver as `nvidia-driver`.
        variables: Environment variables that libraries read; see `VARIABLES`.
    """

    cpu: str
    cores: int
    memory_mb: int
    physical_cores: int | None = None
    limits: Limits = Limits()
    isa: frozenset[str] = frozenset()
    gpus: tuple[Gpu, ...] = ()
    gpu_problems: tuple[str, ...] = field(default=(), compare=False)
    libraries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def fingerprint(self) -> str:
        """An id of the kind of machine; measurements of different fingerprints are never mixed.

        It depends on the kind of the GPUs and not on their number, so that what one process makes
        is found by another one that sees fewer of them.
        """
        kinds = sorted({gpu.name for gpu in self.gpus})
        parts = [self.cpu, str(self.cores), *sorted(self.isa), *kinds]
        if self.physical_cores is not None:
            parts.append(f"{self.physical_cores} physical cores")
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    @property
    def leasable_cores(self) -> int:
        """Number of cores that trials can lease at the same time: whole physical cores."""
        return self.cores if self.physical_cores is None else self.physical_cores

    def cores_leased(self, threads: int) -> int:
        """Return how many cores a lease for so many threads takes.

        Each thread has a separate core as long as there are as many; otherwise the threads share
        all cores. More than `cores` threads are returned as they are: they do not fit.
        """
        return threads if threads > self.cores else min(threads, self.leasable_cores)

    @property
    def int8_products_saturate(self) -> bool:
        """Whether sums of products of unsigned and signed 8-bit integers saturate at 16 bits.

        x86 without VNNI adds two products in 16 bits (VPMADDUBSW): 2 x 255 x 127 overflows, whereas
        with 7-bit weights every sum fits. VNNI, AMX and ARM add in 32 bits.
        """
        return not self.isa & {"avx512_vnni", "avx_vnni", "amx_int8", "asimd"}

    def summary(self, *, count_gpus: bool = True) -> str:
        """Return a one-line description.

        Args:
            count_gpus: Whether to name the number of GPUs, which differs for processes that see
                other ones, and where a GPU is lost.
        """
        count = Counter(gpu.name for gpu in self.gpus)
        named = [
            f"{number} x {name}" if count_gpus and number > 1 else name
            for name, number in count.items()
        ]
        gpus = ", ".join(named) or "no GPU"
        cores = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        if self.physical_cores is not None:
            cores += f" ({self.physical_cores} physical)"
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


def _memory_mb(limit: int | None) -> int:
    """Return the memory of the machine in MB, or the control groups' limit if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return total if limit is None else min(total, limit)


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
    cpus = os.sched_getaffinity(0)
    limits = control_group_limits()
    cores, physical = offered_cores(cpus, limits)
    memory_mb = _memory_mb(limits.memory_mb)
    found = find_gpus(memory_mb)
    driver = {"nvidia-driver": found.gpus[0].driver} if found.gpus else {}
    return Hardware(
        cpu=name,
        cores=cores,
        memory_mb=memory_mb,
        physical_cores=physical if physical < cores else None,
        limits=limits,
        isa=isa,
        gpus=found.gpus,
        gpu_problems=found.problems,
        libraries=MappingProxyType({**installed_versions(LIBRARIES), **driver}),
        variables=MappingProxyType(_variables()),
    )


def offered_cores(cpus: Collection[int], limits: Limits, folder: Path = CPUS) -> tuple[int, int]:
    """Return how many CPUs can be used at the same time, and how many physical cores.

    Args:
        cpus: The CPUs that this process may use.
        limits: Limits of its control groups.
        folder: Folder of the system's CPUs, for tests.
    """
    physical = within_quota(physical_cores(cpus, folder), limits.cores)
    return min(len(cpus), whole_cores(limits.cores, len(cpus))), len(physical)
