"""A Ray Tune searcher that gets its jobs from the search driver. Needs Ray."""

import json
import shutil
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from .channel import Channel


class ChannelSearcher(Searcher):
    """A searcher that passes jobs from a channel to Tune, and Tune's results to the channel.

    It has no metric, so Tune checks none, and no state to save or restore.

    Args:
        channel: The channel to the search driver.
        folder: The folder Tune writes to; a trial's folder is removed once the next trial ends.
        most: Number of jobs after which this Tune run ends; the driver starts another.
    """

    def __init__(self, channel: Channel, folder: Path, most: int) -> None:
        super().__init__(metric=None, mode=None)
        self._channel = channel
        self._folder = folder
        self._left = most
        self._numbers: dict[str, int] = {}
        self._ended: list[str] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return a job, None while no job can start, or `FINISHED`."""
        if self._left == 0:
            return str(Searcher.FINISHED)
        self._channel.send(kind="next")
        offer = self._channel.receive()
        if offer is None or "end" in offer:
            return str(Searcher.FINISHED)
        if "wait" in offer:
            return None
        job: dict[str, Any] = offer["job"]
        self._numbers[trial_id] = job["number"]
        self._left -= 1
        return job

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: results are sent when the trial completes."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Send a trial's evaluation to the driver; None if its worker died."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        known = not error and result is not None and "evaluation" in result
        evaluation = json.loads(result["evaluation"]) if known and result is not None else None
        self._channel.send(kind="ended", number=number, evaluation=evaluation)
        self._sweep(trial_id)

    def _sweep(self, trial_id: str) -> None:
        """Remove the folders of earlier trials; Tune can still write to this trial's folder."""
        for ended in self._ended:
            shutil.rmtree(self._folder / "run" / ended, ignore_errors=True)
        self._ended = [trial_id]

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Tune pickles its searcher, but the study holds the state."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the study holds the state."""
