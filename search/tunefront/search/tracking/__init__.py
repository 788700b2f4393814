"""MLflow: a projection of the study, written by one process."""

from .store import check_reachable, tracking_uri, ui_address

__all__ = ["check_reachable", "tracking_uri", "ui_address"]
