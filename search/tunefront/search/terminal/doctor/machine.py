"""Output about this machine: its hardware, runtimes and number formats, and the choices."""

from tunefront.evaluators.measures.gpu_setup import GpuSetup
from tunefront.spaces import Catalog, Hardware, number_formats, show

from .gpus import gpu_lines


def doctor_lines(hardware: Hardware, catalog: Catalog, setup: GpuSetup | None = None) -> list[str]:
    """Format this machine's hardware, runtimes and number formats, and what is missing.

    Args:
        hardware: The machine.
        catalog: The catalogue.
        setup: What its GPUs, their driver and the toolchain offer; not printed if None.
    """
    import os
    from importlib.metadata import version as version_of

    from tunefront.evaluators import energy_is_counted
    from tunefront.search.tracking.store import shown_uri

    lines = [hardware.summary(), *_limit_lines(hardware)]
    lines += ["instruction sets: " + ", ".join(sorted(hardware.isa)), ""]
    if setup is not None and (found := gpu_lines(setup)):
        left_out = () if setup.problem else hardware.gpu_problems
        lines += [*found, *(f"--  {problem}" for problem in left_out), ""]
    for name in catalog.names("runtime"):
        needed = [one for one in catalog.extension(name).requires if not one.when]
        missing = catalog.missing(name, hardware)
        have = ", ".join(f"{one.name} {one.version_on(hardware)}" for one in needed)
        hint = missing[0].hint() if missing else ""
        text = f"missing {', '.join(one.name for one in missing)}{hint}" if missing else have
        lines.append(f"{'--' if missing else 'ok'}  {name:12} {text}")
    for name, extra in (("transformers", "hf"), ("torchao", "quantization")):
        version = hardware.libraries.get(name)
        text = version or f"missing; pip install 'tunefront[{extra}]'"
        lines.append(f"{'ok' if version else '--'}  {name:12} {text}")
    for name in ("ray", "optuna", "mlflow"):
        lines.append(f"ok  {name:12} {version_of(name)}")
    lines += ["", "number formats on this processor:", *_format_lines(hardware, catalog)]
    if hardware.gpus:
        lines += ["number formats on the GPU:", *_format_lines(hardware, catalog, "cuda")]
    energy = "RAPL or NVML" if energy_is_counted() else "no counter that this user may read"
    lines += ["", f"energy: {energy}", ""]
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "CUDA_VISIBLE_DEVICES", "HF_HOME"):
        lines.append(f"{name}={shown_uri(os.environ.get(name, '(not set)'))}")
    lines += [f"{name}={value}" for name, value in hardware.variables.items()]
    return lines


def _limit_lines(hardware: Hardware) -> list[str]:
    """Format what bounds the cores and the memory that trials can use."""
    lines: list[str] = []
    if hardware.physical_cores is not None:
        lines.append(
            f"hyperthreads: each thread of a trial has one of {hardware.physical_cores} physical "
            "cores, as long as there are as many; trials share none"
        )
    if (quota := hardware.limits.cores) is not None:
        text = f"CPU quota of this container: {quota:g} cores"
        text += ": even one thread is stopped from time to time" if quota < 1 else ""
        lines.append(text)
    if (memory_mb := hardware.limits.memory_mb) == hardware.memory_mb:
        lines.append(f"memory limit of this container: {memory_mb:,} MB")
    return lines


def _format_lines(hardware: Hardware, catalog: Catalog, device: str = "cpu") -> list[str]:
    """Format each runtime's number formats on a device, and why others are ruled out."""
    lines: list[str] = []
    lacking: dict[str, dict[str, None]] = {}
    for name in catalog.names("runtime"):
        parts: dict[str, list[str]] = {}
        for found in number_formats(catalog, name, hardware, device=device):
            if found.refusal is None:
                parts.setdefault(str(found.values["precision"]), []).append(found.quantization)
            elif found.lacking:
                lacking.setdefault(found.refusal, {})[name] = None
        shown = "; ".join(f"{precision} ({', '.join(some)})" for precision, some in parts.items())
        if shown or device == "cpu":
            lines.append(f"    {name:12} {shown}")
    lines += [f"--  {', '.join(names):12} {reason}" for reason, names in lacking.items()]
    if device == "cpu" and hardware.int8_products_saturate:
        lines.append(
            "--  this processor has no VNNI instructions: it adds products of 8-bit integers in 16 "
            "bits; onnxruntime dynamic and openvino static keep 8-bit weights to 7 bits"
        )
    return lines


def _source(origin: str) -> str:
    return f" (from {origin})" if origin else ""


def choices_lines(catalog: Catalog) -> list[str]:
    """Format every choice of the catalogue with its values."""
    lines: list[str] = []
    for kind in catalog.kinds.values():
        default, source = show(kind.default), _source(catalog.origin(kind.name))
        lines.append(f"{kind.name} ({kind.stage}, default {default}): {kind.help}{source}")
        if kind.words is not None:
            lines += [
                f"    {show(word):18} {meaning}{_source(catalog.origin(kind.name, word))}".rstrip()
                for word, meaning in kind.words.items()
            ]
        elif kind.numbers:
            lines.append(f"    {', '.join(map(show, kind.numbers))} {kind.unit}".rstrip())
        else:
            lines.append(f"    {kind.low:g} to {kind.high:g} {kind.unit}".rstrip())
    return lines
