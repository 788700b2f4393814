"""Read-back: proof that a running candidate has the choices of its configuration."""

from collections.abc import Callable
from typing import cast

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.spaces import Catalog, Configuration

ReadBackFunction = Callable[[Configuration, Facts, CandidateRecord], str | None]
"""The contract `read_back` of an extension: a message if its choices did not take effect."""


def not_applied(
    catalog: Catalog, configuration: Configuration, facts: Facts, record: CandidateRecord
) -> str | None:
    """Return a message about the first choice that did not take effect, or None.

    Args:
        catalog: The catalogue of the configuration.
        configuration: The complete configuration that was to be applied.
        facts: Properties read back from the running candidate.
        record: The record of the built candidate.
    """
    for kind, value in catalog.active(configuration):
        if kind.read_back != "equal":
            continue
        if kind.name not in facts:
            if value == kind.default:
                continue
            return f"{kind.name}: {value} requested, but {record.runtime} does not read it back"
        if facts[kind.name] != value:
            return (
                f"{kind.name}: {value} requested, but the running candidate has {facts[kind.name]}"
            )
    for name in catalog.names("read_back"):
        check = cast(ReadBackFunction, catalog.provided("read_back", name))
        if (problem := check(configuration, facts, record)) is not None:
            return problem
    return None
