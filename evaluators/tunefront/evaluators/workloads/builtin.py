"""The built-in workloads by task."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tunefront.spaces.metric import Metric

from .base import Workload
from .causal_lm import CausalLM
from .custom import Custom
from .image_classification import ImageClassification
from .spec import WorkloadSpec
from .text_classification import TextClassification
from .text_embedding import TextEmbedding

WORKLOADS: Mapping[str, Callable[[WorkloadSpec], Workload]] = MappingProxyType(
    {
        "causal-lm": CausalLM,
        "text-embedding": TextEmbedding,
        "text-classification": TextClassification,
        "image-classification": ImageClassification,
        "custom": Custom,
    }
)


def build_workload(spec: WorkloadSpec) -> Workload:
    """Return the workload of a spec; nothing is loaded yet."""
    return WORKLOADS[spec.task](spec)


def quality_metrics(spec: WorkloadSpec) -> Mapping[str, Metric]:
    """Return the quality metrics of the workload by name, the primary metric first."""
    return {metric.name: metric for metric in build_workload(spec).metrics}
