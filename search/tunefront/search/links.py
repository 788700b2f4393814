"""The link to the front, wherever a search is talked about; told without MLflow."""

from tunefront.search.experiment.experiment import Experiment

from .served import server_of
from .text import Say
from .tracking.address import front_page_of
from .tracking.store import tracking_uri, ui_address


def say_front(experiment: Experiment, say: Say) -> None:
    """Say where MLflow shows the front, and what serves it; nothing before it was written there."""
    page = front_page_of(experiment)
    if page is None:
        return
    server = server_of(experiment)
    say(f"front:  {server.address if server is not None else ui_address(experiment)}/{page}")
    if server is None and not tracking_uri(experiment).startswith("http"):
        say(f"        (served by `tunefront ui {experiment.path}`)")
