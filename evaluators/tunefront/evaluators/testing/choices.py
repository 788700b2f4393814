"""The conformance suite of choices."""

from collections.abc import Callable

from tunefront.spaces import Catalog

from .cases import NotConformant

ChoiceCheck = Callable[[Catalog, str], None]


def the_default_is_allowed(catalog: Catalog, name: str) -> None:
    """The default is one of the allowed values, in its type.

    Raises:
        NotConformant: If it is not.
    """
    kind = catalog.kind(name)
    checked = kind.check(kind.default)
    if checked != kind.default or type(checked) is not type(kind.default):
        raise NotConformant(f"{name}: default {kind.default!r} must be written {checked!r}")


def it_explains_itself(catalog: Catalog, name: str) -> None:
    """It has a sentence of help, and at least two values.

    Raises:
        NotConformant: If it has not.
    """
    kind = catalog.kind(name)
    if not kind.help.endswith("."):
        raise NotConformant(f"{name}: help must be a sentence, but is {kind.help!r}")
    if kind.words is not None and not kind.words:
        raise NotConformant(f"{name}: words must not be empty")
    if kind.words is None and not kind.low < kind.high:
        raise NotConformant(f"{name}: `low < high` must hold, but got {kind.low:g}, {kind.high:g}")


def its_conditions_name_earlier_choices(catalog: Catalog, name: str) -> None:
    """Conditions refer to choices that the catalogue lists before it.

    Raises:
        NotConformant: If one does not.
    """
    names = list(catalog.kinds)
    earlier = names[: names.index(name)]
    for condition in catalog.kind(name).when:
        if condition.choice not in earlier:
            raise NotConformant(f"{name}: {condition.choice} must be declared before it")


def its_read_back_is_provided(catalog: Catalog, name: str) -> None:
    """A choice with `read_back="own"` is declared by an extension that provides the function.

    Raises:
        NotConformant: If it is not.
    """
    owner = catalog.declaring(name)
    if catalog.kind(name).read_back == "own" and "read_back" not in owner.provides:
        raise NotConformant(
            f"{name}: read_back is 'own', so extension {owner.name} must provide 'read_back'"
        )


def its_values_have_different_labels(catalog: Catalog, name: str) -> None:
    """Different values give different labels, so that the labels identify a trial.

    Raises:
        NotConformant: If two values have the same label.
    """
    kind = catalog.kind(name)
    values = list(kind.words) if kind.words is not None else list(kind.numbers)
    chosen = {one.choice: one.operands[0] for one in kind.when if one.test == "=="}
    labels = [catalog.label(catalog.complete({**chosen, name: value})) for value in values]
    active = not kind.when or set(chosen) == {one.choice for one in kind.when}
    if active and len(set(labels)) < len(labels):
        raise NotConformant(f"{name}: values must have different labels, but got {labels}")


CHOICE_CHECKS: tuple[ChoiceCheck, ...] = (
    the_default_is_allowed,
    it_explains_itself,
    its_conditions_name_earlier_choices,
    its_read_back_is_provided,
    its_values_have_different_labels,
)
