"""The interface `http`: the names that runtimes, workloads and callers use."""

from .endpoint import ContentEvent, HttpEndpoint
from .interface import HTTP_METRICS, Http
from .requests import HttpRequest, HttpResponse
from .template import METHODS, RequestTemplate

__all__ = [
    "HTTP_METRICS",
    "METHODS",
    "ContentEvent",
    "Http",
    "HttpEndpoint",
    "HttpRequest",
    "HttpResponse",
    "RequestTemplate",
]
