"""Pruning by configuration: the technique to apply, and the read-back of its effect."""

from collections.abc import Callable
from typing import cast

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.spaces import Catalog, Configuration, Value

from .base import Technique

LEAST_SPARSITY = 0.9
"""Minimum sparsity of the running candidate, as a share of the pruned module's sparsity."""


def active_techniques(
    catalog: Catalog, configuration: Configuration
) -> list[tuple[Technique, float]]:
    """Return the techniques that a complete configuration uses, in order, each with its amount.

    A technique of an extension that declares a choice is used if the choice does not have its
    default; its amount is the value. Other techniques are pruning methods.
    """
    found: list[tuple[str, Value]] = []
    active = {kind.name: value for kind, value in catalog.active(configuration)}
    for name in catalog.names("technique"):
        declared = catalog.extension(name).choices
        if declared and active.get(declared[0].name, declared[0].default) != declared[0].default:
            found.append((name, active[declared[0].name]))
    if configuration.number("pruning_ratio") > 0.0:
        found.append((configuration.text("pruning_method"), configuration["pruning_ratio"]))
    return [
        (cast(Callable[[], Technique], catalog.provided("technique", name))(), float(amount))
        for name, amount in found
    ]


def pruning_not_applied(
    configuration: Configuration, facts: Facts, record: CandidateRecord
) -> str | None:
    """Return a message if the running candidate is not pruned as configured, or None."""
    ratio = configuration.number("pruning_ratio")
    if ratio == 0.0:
        return None
    if configuration["pruning_method"] == "magnitude":
        sparsity = float(facts["sparsity"])
        if record.sparsity > 0 and sparsity >= LEAST_SPARSITY * record.sparsity:
            return None
        return f"pruning_ratio: {ratio:g} requested, but {number_text(sparsity)} are zeros"
    if record.parameters >= record.reference_parameters:
        return (
            f"pruning_ratio: {ratio:g} requested, but all {record.parameters:,} parameters are left"
        )
    return None
