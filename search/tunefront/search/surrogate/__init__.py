"""What a configuration would probably measure, and what that would be worth: pure functions."""

from .figures import Scale, learnable, scaled, variance
from .improvement import expected_improvement
from .prediction import Prediction
from .process import Process, fit
from .seconds import ExpectedSeconds
from .similarity import Features, encode

__all__ = [
    "ExpectedSeconds",
    "Features",
    "Prediction",
    "Process",
    "Scale",
    "encode",
    "expected_improvement",
    "fit",
    "learnable",
    "scaled",
    "variance",
]
