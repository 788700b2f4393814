"""The number formats that each runtime can run on a machine.

Presets, `init`, `doctor`, the conformance suite and the tests use this; the rules of a space come
from the same extensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tunefront.spaces.choice import Value
from tunefront.spaces.hardware import INSTRUCTION_SETS, Hardware

from .catalog import Catalog
from .numerics import (
    NOT_QUANTIZED,
    PRECISION,
    QUANTIZATION_BITS,
    QUANTIZATION_METHOD,
    TF32,
)
from .presets import PRESETS

_ANY_CAPABILITY = (99, 0)
"""A compute capability above that of any GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormatSupport:
    """Whether a runtime can run a number format on a machine.

    Attributes:
        values: The choices of the format: precision, bits, and below 16 bits the method.
        refusal: Why it can't run; None if it can.
        lacking: Whether it can't run only because the processor or the GPU lacks instructions.
    """

    values: Mapping[str, Value]
    refusal: str | None
    lacking: bool

    @property
    def quantization(self) -> str:
        """Bits and method as text (`w8 static`); `none` if weights are not quantized."""
        if self.values[QUANTIZATION_BITS.name] == NOT_QUANTIZED:
            return "none"
        bits, method = self.values[QUANTIZATION_BITS.name], self.values[QUANTIZATION_METHOD.name]
        return f"{QUANTIZATION_BITS.short}{bits} {method}"


def number_formats(
    catalog: Catalog, runtime: str, hardware: Hardware, *, device: str = "cpu"
) -> Iterator[NumberFormatSupport]:
    """Yield whether a runtime can run each number format, with groups of the default size."""
    everything = replace(
        hardware,
        isa=frozenset(INSTRUCTION_SETS),
        gpus=tuple(replace(gpu, capability=_ANY_CAPABILITY) for gpu in hardware.gpus),
    )
    for values in _formats(catalog):
        wanted = {**values, "runtime": runtime, "device": device}
        refusal = catalog.refusal(wanted, hardware)
        lacking = refusal is not None and catalog.refusal(wanted, everything) is None
        yield NumberFormatSupport(values=values, refusal=refusal, lacking=lacking)


def supported_formats(
    catalog: Catalog, runtime: str, hardware: Hardware, *, device: str = "cpu"
) -> list[Mapping[str, Value]]:
    """Return the number formats that a runtime can run on a machine, by the values of choices."""
    found = number_formats(catalog, runtime, hardware, device=device)
    return [support.values for support in found if support.refusal is None]


def preset_space(preset: str, catalog: Catalog, hardware: Hardware) -> dict[str, object]:
    """Return the values of a preset, without the number formats that this machine would emulate.

    These are precisions and methods of quantization. GPUs without TF32 get fp32 in its place.

    Args:
        preset: Name of the preset.
        catalog: The catalogue.
        hardware: The machine.
    """
    space = dict(PRESETS[preset])
    devices = space["device"] if "device" in space else catalog.kind("device").default
    device = str(_listed(devices)[0])
    found = [
        support
        for runtime in _listed(space["runtime"])
        for support in number_formats(catalog, str(runtime), hardware, device=device)
    ]
    emulated = _lacking(found, PRECISION.name)
    values = _listed(space[PRECISION.name])
    values = [PRECISION.default if one == TF32 and one in emulated else one for one in values]
    space[PRECISION.name] = [one for one in values if one not in emulated]
    methods = _listed(space[QUANTIZATION_METHOD.name])
    absent = _lacking(found, QUANTIZATION_METHOD.name)
    space[QUANTIZATION_METHOD.name] = [one for one in methods if one not in absent]
    return space


def _lacking(found: Sequence[NumberFormatSupport], choice: str) -> set[Value]:
    """Return the values of a choice for which no runtime finds the instructions that it needs."""
    named = [one for one in found if choice in one.values]
    supported = {one.values[choice] for one in named if one.refusal is None}
    return {one.values[choice] for one in named if one.lacking} - supported


def _listed(values: object) -> list[object]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _formats(catalog: Catalog) -> Iterator[Mapping[str, Value]]:
    methods = catalog.kind(QUANTIZATION_METHOD.name).words or ()
    for precision in catalog.kind(PRECISION.name).words or ():
        for bits in QUANTIZATION_BITS.numbers:
            plain = {PRECISION.name: precision, QUANTIZATION_BITS.name: bits}
            if bits == NOT_QUANTIZED:
                yield plain
                continue
            for method in methods:
                yield {**plain, QUANTIZATION_METHOD.name: method}
