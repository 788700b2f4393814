"""MLflow: a projection of the study, written by one process."""

from .store import check_reachable, in_words, only_writer, tracking_uri, ui_address

__all__ = ["check_reachable", "in_words", "only_writer", "tracking_uri", "ui_address"]
