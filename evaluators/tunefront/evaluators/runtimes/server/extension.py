"""What the engine `server` supports."""

from tunefront.spaces import Extension

NAME = "server"
"""The runtime of a workload with the key `server`; it is never written in an experiment."""
SETTINGS = frozenset({"runtime", "device", "threads", "replicas"})
"""Choices that apply to any server without a placeholder in its command."""
TRANSLATED = frozenset({"threads", "max_batch"})
"""Choices of the catalogue that a command can have placeholders for."""

EXTENSION = Extension(
    name=NAME,
    short="srv",
    values={"runtime": {NAME: "a server that a command starts, called over HTTP"}},
    supports={
        "device": frozenset({"cpu", "cuda"}),
        "precision": frozenset({"fp32"}),
        "quantization_bits": frozenset({16}),
        "kv_cache_bits": frozenset({16}),
        "max_batch": None,
    },
    interfaces=frozenset({"generation", "http"}),
    imports={
        "open": ("h11", "psutil", "numpy", "transformers.models.auto.tokenization_auto"),
    },
    provides={
        "runtime": "tunefront.evaluators.runtimes.server.runtime:Server",
        "read_back": "tunefront.evaluators.runtimes.server.runtime:flags_not_applied",
    },
)
