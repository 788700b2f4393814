"""The number format of a configuration, as runtimes use and report it."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.spaces import FP8, NOT_QUANTIZED, Configuration, Value

KEPT_LAYERS = "kept_layers"
"""Fact, and setting of a build: linear layers left unquantized (their number, their names)."""
LEFT_OUT_LAYERS = "left_out_layers"
"""Fact, and setting of a build: of these, layers that the device can't multiply (likewise)."""
LINEAR_LAYERS = "linear_layers"
"""Fact: number of linear layers, quantized or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """Precision of computation and quantization of weights.

    Attributes:
        precision: The floating-point format, a value of the choice `precision`.
        bits: Bits of a weight; 16 if weights are not quantized.
        method: A value of the choice `quantization_method`.
        group_size: Number of weights that share a scale, below 8 bits.
        kept: Share of the linear layers that are left unquantized.
    """

    precision: str
    bits: int
    method: str
    group_size: int
    kept: float = 0.0

    @classmethod
    def of(cls, configuration: Configuration) -> "NumberFormat":
        """Return the number format of a complete configuration."""
        return cls(
            precision=configuration.text("precision"),
            bits=configuration.integer("quantization_bits"),
            method=configuration.text("quantization_method"),
            group_size=configuration.integer("group_size"),
            kept=configuration.number("sensitive_layers_kept"),
        )

    @property
    def quantized(self) -> bool:
        """Whether weights are quantized."""
        return self.bits < NOT_QUANTIZED

    @property
    def dynamic(self) -> bool:
        """Whether activations are quantized at run time."""
        return self.quantized and self.method == "dynamic"

    @property
    def fp8(self) -> bool:
        """Whether weights and activations are quantized to 8-bit floating point."""
        return self.quantized and self.method == FP8

    def __str__(self) -> str:
        return f"{self.bits} bits by {self.method}" if self.quantized else self.precision


def quantization_facts(
    bits: int = NOT_QUANTIZED, method: str = "", group_size: int = 0
) -> dict[str, Value]:
    """Return the facts about quantization of a running candidate.

    Args:
        bits: Bits of a weight.
        method: How it is quantized; not reported if weights are not quantized.
        group_size: Number of weights that share a scale; reported below 8 bits.
    """
    facts: dict[str, Value] = {"quantization_bits": bits}
    if bits < NOT_QUANTIZED:
        facts["quantization_method"] = method
    if bits < 8:
        facts["group_size"] = group_size
    return facts


def layer_facts(
    settings: Mapping[str, object], floating: Collection[str], quantized: int
) -> dict[str, Value]:
    """Return the facts about linear layers left unquantized.

    Args:
        settings: The settings of the build, with the names of these layers.
        floating: Names of the weights that are floating-point numbers in the running candidate.
        quantized: Number of quantized linear layers.
    """
    found = _count(settings.get(KEPT_LAYERS), floating)
    facts: dict[str, Value] = {KEPT_LAYERS: found, LINEAR_LAYERS: found + quantized}
    if left_out := _count(settings.get(LEFT_OUT_LAYERS), floating):
        facts[LEFT_OUT_LAYERS] = left_out
    return facts


def _count(names: object, floating: Collection[str]) -> int:
    return sum(f"{name}.weight" in floating for name in names) if isinstance(names, list) else 0


def number_kept(share: float, layers: int) -> int:
    """Return how many of the layers are left unquantized for a share."""
    return math.ceil(round(share * layers, 9))


def layers_not_kept(
    configuration: Configuration, facts: Facts, record: CandidateRecord
) -> str | None:
    """Return a message if fewer or more layers are unquantized than configured, or None.

    Those that the device can't multiply can be among them or come in addition.
    """
    share = configuration.number("sensitive_layers_kept")
    if share == 0.0:
        return None
    found, layers = int(facts.get(KEPT_LAYERS, 0)), int(facts.get(LINEAR_LAYERS, 0))
    least = number_kept(share, layers)
    if layers and least <= found <= least + int(facts.get(LEFT_OUT_LAYERS, 0)):
        return None
    return (
        f"sensitive_layers_kept: {share:g} requested, but {found} of {layers} linear layers are "
        "unquantized"
    )
