"""Parts shared by text and image classifiers: labels, accuracy, agreement with the reference."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import mean_of
from tunefront.evaluators.workloads.sources.data import DataRow
from tunefront.evaluators.workloads.sources.hub import load_config
from tunefront.spaces import WorkloadError
from tunefront.spaces.metric import Metric

from .base import EnoughItems
from .outputs import NOT_FINITE, Sample, shortened
from .quality import Quality
from .sequential import ItemIndices, evaluate_items, evaluated_places
from .spec import WorkloadSpec

METRICS = (
    Metric(
        name="accuracy",
        unit="",
        direction="maximize",
        summary="share of items whose likeliest class is the right one",
        lowest=0.0,
        highest=1.0,
    ),
    Metric(
        name="agreement",
        unit="",
        direction="maximize",
        summary="share of items whose likeliest class is the reference model's",
        lowest=0.0,
        highest=1.0,
    ),
)


def class_names(spec: WorkloadSpec) -> dict[str, int]:
    """Return the class number by class name, from the model's configuration.

    Raises:
        WorkloadError: If the model is no classifier of one class an item.
    """
    config = load_config(spec)
    if config.num_labels < 2 or config.problem_type not in (None, "single_label_classification"):
        kind = config.problem_type or f"{config.num_labels} output"
        raise WorkloadError(
            f"model: {spec.model}: accuracy needs a classifier with one class an item, but its "
            f"configuration has {kind}; use task custom for this model"
        )
    return {str(name): int(number) for number, name in config.id2label.items()}


def labels_of(rows: Sequence[DataRow], names: Mapping[str, int], data: str) -> Array:
    """Return the class number of every row, shape `(items,)`; a label is a number or a class name.

    Raises:
        WorkloadError: If a label is neither the number of a class nor one of `names`; the message
            names the row.
    """
    numbers: list[int] = []
    for place, row in enumerate(rows, start=1):
        label = row.get("label")
        number = names.get(label) if isinstance(label, str) else None
        number = _whole(label) if number is None else number
        if number is None or not 0 <= number < len(names):
            raise WorkloadError(
                f"data: {data}: row {place}: column 'label' must be a class number from 0 to "
                f"{len(names) - 1} or one of {', '.join(sorted(names))}, but got {label!r}"
            )
        numbers.append(number)
    return np.array(numbers)


def _whole(label: object) -> int | None:
    """Return a label that is a whole number, also as text or with decimals that are 0."""
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    try:
        number = float(label)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def quality_of(
    classify: Callable[[ItemIndices], Array],
    labels: Array,
    reference: Mapping[str, Array] | None,
    enough: EnoughItems | None,
) -> Quality:
    """Compute accuracy and agreement with the reference.

    Args:
        classify: Returns the logits of the items at the given indices, shape `(indices, classes)`.
        labels: True classes, shape `(items,)`.
        reference: The reference's `classes`; None for the reference module itself.
        enough: Returns whether evaluation can stop; None evaluates all items.
    """
    classes = np.zeros(len(labels), dtype=np.int64)

    def score(places: ItemIndices) -> tuple[Array, Array]:
        classes[places] = classify(places).argmax(axis=-1)
        return (classes[places] == labels[places]).astype(np.float64), np.ones(len(places))

    items, weights = evaluate_items(len(labels), score, enough)
    places = evaluated_places(weights)
    compared = classes if reference is None else reference["classes"]
    metrics = {
        "accuracy": mean_of(items[places]),
        "agreement": mean_of((classes == compared)[places].astype(np.float64)),
    }
    return Quality(metrics=metrics, items=items, weights=weights, predictions={"classes": classes})


def example_outputs(
    inputs: Mapping[int, str], logits: Array, labels: Array, names: Mapping[str, int]
) -> list[Sample]:
    """Return the top-1 class and its probability for a few items, with the true class.

    Args:
        inputs: Text of the input by item index.
        logits: Logits of these items, shape `(inputs, classes)`.
        labels: True classes of all items, shape `(items,)`.
        names: Class number by the model's class name.
    """
    called = {number: name for name, number in names.items()}
    found: list[Sample] = []
    for (place, text), row in zip(inputs.items(), logits.astype(np.float64), strict=True):
        known, first, right = bool(np.isfinite(row).all()), int(row.argmax()), int(labels[place])
        found.append(
            Sample(
                item=place,
                input=text,
                output=shortened(called.get(first, str(first))) if known else NOT_FINITE,
                expected=shortened(called.get(right, str(right))),
                right=known and first == right,
                score=float(1 / np.exp(row - row[first]).sum()) if known else None,
                score_name="probability",
            )
        )
    return found
