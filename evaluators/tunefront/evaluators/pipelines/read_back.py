"""A choice recorded is a choice applied: what a candidate says it is, against its configuration."""

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.runtimes.base import Facts
from tunefront.spaces import Configuration

LEAST_SPARSITY = 0.9
"""Zeros that the candidate must hold, as a share of the zeros of the pruned module."""


def not_applied(configuration: Configuration, facts: Facts, record: CandidateRecord) -> str | None:
    """The first choice that did not take effect, in words, or None."""
    wanted = {
        "runtime": configuration.get("runtime", "torch"),
        "device": configuration.get("device", "cpu"),
        "precision": configuration.get("precision", "fp32"),
        "quantization": configuration.get("quantization", "none"),
        "threads": configuration.get("threads", 1),
    }
    for name, value in wanted.items():
        found = getattr(facts, name)
        if found != value:
            return f"{name}: {value} asked for, but the running candidate has {found}"
    return _pruning_not_applied(configuration, facts, record)


def _pruning_not_applied(
    configuration: Configuration, facts: Facts, record: CandidateRecord
) -> str | None:
    ratio = float(configuration.get("pruning_ratio", 0.0))
    if ratio == 0.0:
        return None
    method = configuration.get("pruning_method", "ffn-channels")
    if method == "magnitude":
        if record.sparsity > 0 and facts.sparsity >= LEAST_SPARSITY * record.sparsity:
            return None
        return f"pruning_ratio: {ratio:g} asked for, but {facts.sparsity:.3f} are zeros"
    if record.parameters >= record.reference_parameters:
        return (
            f"pruning_ratio: {ratio:g} asked for, but all {record.parameters:,} parameters are left"
        )
    return None
