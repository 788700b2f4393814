"""The study as a Ray Tune searcher. Needs Ray."""

import json
from typing import Any, Protocol

from ray.tune.search import Searcher

from tunefront.evaluators import Evaluation

from .job import Job


class Jobs(Protocol):
    """Where jobs come from, and where results go."""

    def waiting(self) -> bool:
        """Whether nothing may start yet."""
        ...

    def next_job(self) -> Job | None:
        """The next trial; None at the end."""
        ...

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record how a trial ended."""
        ...


class StudySearcher(Searcher):
    """Hands jobs to Tune, and takes Tune's results.

    It has no metric, so Tune checks none; it keeps no state, so there is none to restore.
    """

    def __init__(self, jobs: Jobs) -> None:
        super().__init__(metric=None, mode=None)
        self._jobs = jobs
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """A job, None while the baseline runs, or the end."""
        if self._jobs.waiting():
            return None
        job = self._jobs.next_job()
        if job is None:
            return str(Searcher.FINISHED)
        self._numbers[trial_id] = job.number
        return job.to_dict()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Results are told when the trial has ended."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended; a worker that died is a failed trial."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        if error or not result or "evaluation" not in result:
            evaluation = Evaluation(
                status="failed", cause="crash", stage="measure", message="the worker ended"
            )
        else:
            evaluation = Evaluation.from_dict(json.loads(result["evaluation"]))
        self._jobs.tell(number, evaluation)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, and the study is the state."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """The study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is the state."""
