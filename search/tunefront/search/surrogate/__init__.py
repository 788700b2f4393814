"""What a configuration would probably measure, and what that would be worth: pure functions."""

from .improvement import expected_improvement
from .process import Process, fit
from .similarity import Features, encode

__all__ = ["Features", "Process", "encode", "expected_improvement", "fit"]
