"""Read-back: proof that a running candidate has the choices of its configuration."""

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.runtimes.base import Facts
from tunefront.spaces import Configuration

LEAST_SPARSITY = 0.9
"""Minimum sparsity of the running candidate, as a share of the pruned module's sparsity."""


def not_applied(configuration: Configuration, facts: Facts, record: CandidateRecord) -> str | None:
    """Return a message about the first choice that did not take effect, or None.

    Args:
        configuration: The complete configuration that was to be applied.
        facts: Properties read back from the running candidate.
        record: The record of the built candidate.
    """
    for name in ("runtime", "device", "precision", "quantization", "threads"):
        value, found = configuration[name], getattr(facts, name)
        if found != value:
            return f"{name}: {value} asked for, but the running candidate has {found}"
    return _pruning_not_applied(configuration, facts, record)


def _pruning_not_applied(
    configuration: Configuration, facts: Facts, record: CandidateRecord
) -> str | None:
    ratio = configuration.number("pruning_ratio")
    if ratio == 0.0:
        return None
    if configuration["pruning_method"] == "magnitude":
        if record.sparsity > 0 and facts.sparsity >= LEAST_SPARSITY * record.sparsity:
            return None
        return f"pruning_ratio: {ratio:g} asked for, but {facts.sparsity:.3f} are zeros"
    if record.parameters >= record.reference_parameters:
        return (
            f"pruning_ratio: {ratio:g} asked for, but all {record.parameters:,} parameters are left"
        )
    return None
