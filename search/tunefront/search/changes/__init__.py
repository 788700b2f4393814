"""Two searches of one task side by side: what differs, and what that changed on the front."""

from .comparison import Comparison, compare_searches

__all__ = ["Comparison", "compare_searches"]
