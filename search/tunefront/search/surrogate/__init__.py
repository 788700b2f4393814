"""What a configuration would probably measure, and what that would be worth: pure functions."""

from .figures import Scale, learnable, variance
from .improvement import expected_improvement
from .process import Process, fit
from .seconds import expected_seconds
from .similarity import Features, encode

__all__ = [
    "Features",
    "Process",
    "Scale",
    "encode",
    "expected_improvement",
    "expected_seconds",
    "fit",
    "learnable",
    "variance",
]
