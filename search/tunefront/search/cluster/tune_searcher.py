"""The night's jobs as a Ray Tune searcher. Needs Ray."""

import json
import shutil
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from .channel import Wire


class WireSearcher(Searcher):
    """Hands jobs from the wire to Tune, and Tune's results to the wire.

    It has no metric, so Tune checks none; it keeps no state, so there is none to restore.

    Args:
        wire: The night is at its other end.
        folder: Where Tune writes; a trial's folder is removed once the next one has ended.
        most: Jobs after which this run ends; the night starts another.
    """

    def __init__(self, wire: Wire, folder: Path, most: int) -> None:
        super().__init__(metric=None, mode=None)
        self._wire = wire
        self._folder = folder
        self._left = most
        self._numbers: dict[str, int] = {}
        self._ended: list[str] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """A job, None while nothing may start, or the end."""
        if self._left == 0:
            return str(Searcher.FINISHED)
        self._wire.say(kind="next")
        offer = self._wire.hear()
        if offer is None or "end" in offer:
            return str(Searcher.FINISHED)
        if "wait" in offer:
            return None
        job: dict[str, Any] = offer["job"]
        self._numbers[trial_id] = job["number"]
        self._left -= 1
        return job

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Results are told when the trial has ended."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell how a trial ended; of one whose worker died nothing is known."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        known = not error and result is not None and "evaluation" in result
        evaluation = json.loads(result["evaluation"]) if known and result is not None else None
        self._wire.say(kind="ended", number=number, evaluation=evaluation)
        self._sweep(trial_id)

    def _sweep(self, trial_id: str) -> None:
        """Remove what Tune keeps of trials before this one; it may still write of this one."""
        for ended in self._ended:
            shutil.rmtree(self._folder / "run" / ended, ignore_errors=True)
        self._ended = [trial_id]

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, and the study is the state."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """The study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is the state."""
