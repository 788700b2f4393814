"""The metrics of the built-in interfaces."""

from tunefront.spaces.metric import Metric

from .tensors import TENSOR_METRICS

INTERFACE_METRICS: tuple[Metric, ...] = TENSOR_METRICS
