"""An export measured and judged again: does what was recorded still hold?"""

from .again import Recheck, history, history_file, keep, recheck

__all__ = ["Recheck", "history", "history_file", "keep", "recheck"]
