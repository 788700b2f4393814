"""Memory of processes and GPUs, and size of a folder on disk."""

import re
import sys
from pathlib import Path

_LINE = re.compile(r"^(Vm\w+):\s+(\d+) kB", re.MULTILINE)


def process_memory_mb(pid: int | str = "self") -> tuple[float, float]:
    """Return current and peak resident memory of a process, in MB (2**20 bytes).

    The values are VmRSS and VmHWM of the kernel's `/proc/PID/status`.
    """
    fields = dict(_LINE.findall(Path(f"/proc/{pid}/status").read_text()))
    return int(fields["VmRSS"]) / 1024, int(fields["VmHWM"]) / 1024


def folder_mb(folder: Path) -> float:
    """Return the size of the files below a folder, in MB (2**20 bytes)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def tree_memory_mb() -> tuple[float, float]:
    """Return current and peak resident memory of this process and its descendants, in MB.

    The peak is the sum of the processes' peaks.
    """
    import psutil

    parts = [process_memory_mb()]
    for child in psutil.Process().children(recursive=True):
        try:
            parts.append(process_memory_mb(child.pid))
        except FileNotFoundError:
            continue
    return sum(now for now, _ in parts), sum(peak for _, peak in parts)


def gpu_memory_mb() -> dict[str, float]:
    """Return this process's peak GPU memory, summed over GPUs, in MB; empty if it used no GPU.

    `allocated_mb` is what torch's allocator gave to tensors, `device_mb` what it reserved on the
    devices.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    gpus = range(torch.cuda.device_count())
    return {
        "allocated_mb": sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus) / 2**20,
        "device_mb": sum(torch.cuda.max_memory_reserved(gpu) for gpu in gpus) / 2**20,
    }
