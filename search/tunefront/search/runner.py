"""Ray Tune runs the trials: our own searcher over the study, reused actors, exact resources.

The study decides and remembers; Tune places and runs. Nothing of Tune's own state is kept: a search
that goes on starts a new Tune run over the same study (notes on why: docs/decisions.md).
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefront.evaluators import Evaluation, Setting
from tunefront.spaces import Configuration

from .files import write_whole
from .job import Job, resources_of, run_job
from .samplers import Sampler
from .study import Study
from .trial import Trial

LOG_LINES = 20
PATIENCE = 3
"""Proposals in a row that must promise too little before the search ends."""
Body = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What a trial does in its worker: from its job to an evaluation, both as plain values."""


class Runner:
    """Runs a search's trials until the study has enough of them, or the time is up.

    Args:
        study: The record.
        sampler: Who proposes.
        setting: What all evaluations share.
        concurrent: Trials at a time, at the most.
        trials: Trials in all, the baseline included; no bound where None.
        seconds: Time from now; no bound where None.
        least_gain: Expected gain below which proposals, several in a row, end the search; none
            where None.
        on_trial: Called with every trial when it ends.
        body: What a trial does in its worker.
    """

    def __init__(
        self,
        study: Study,
        sampler: Sampler,
        setting: Setting,
        *,
        concurrent: int,
        trials: int | None,
        seconds: float | None,
        least_gain: float | None = None,
        on_trial: Callable[[Trial], None],
        body: Body = run_job,
    ) -> None:
        self.study = study
        self.sampler = sampler
        self.setting = setting
        self.concurrent = concurrent
        self.trials = trials
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.least_gain = least_gain
        self.gains: list[float] = []
        self.on_trial = on_trial
        self.body = body
        self.again: list[tuple[Configuration, int]] = []
        self.stopped = False

    @property
    def results(self) -> Path:
        """Where workers leave their results before they report them."""
        return self.study.experiment.results / "trials"

    def reconcile(self) -> None:
        """Settle what ran when a driver ended; what never finished is run once more."""
        found = {
            int(path.stem): Evaluation.from_dict(json.loads(path.read_text()))
            for path in self.results.glob("*.json")
        }
        self.again = [(trial.configuration, 2) for trial in self.study.reconcile(found)]

    def next_job(self) -> Job | None:
        """The next trial, already in the record; None where the search is at its end."""
        recorded = self.study.trials()
        if self._ended(recorded):
            return None
        if not recorded:
            configuration, attempt, why = self.study.experiment.baseline, 1, "the baseline"
        elif self.again:
            configuration, attempt = self.again.pop()
            why = "ran when the search was interrupted"
        else:
            proposed = self.sampler.propose(recorded)
            if proposed is None:
                return None
            configuration, attempt, why = proposed, 1, self.sampler.explain()
            gain = self.sampler.gain()
            self.gains = [*self.gains, gain][-PATIENCE:] if gain is not None else []
            if self.enough():
                return None
        return Job(
            number=self.study.ask(configuration, attempt, why),
            configuration=configuration,
            setting=self.setting,
            folder=self.study.experiment.results,
        )

    def _ended(self, recorded: Sequence[Trial]) -> bool:
        if self.stopped or (self.deadline is not None and time.monotonic() >= self.deadline):
            return True
        if recorded and recorded[0].status == "failed" and not self.again:
            return True
        counted = sum(not interrupted(trial) for trial in recorded)
        return self.trials is not None and counted >= self.trials

    def enough(self) -> bool:
        """Whether the last proposals were all expected to add too little."""
        least = self.least_gain
        return least is not None and len(self.gains) == PATIENCE and max(self.gains) < least

    def finished(self) -> bool:
        """Whether the record says that there is nothing to run, without asking the sampler."""
        recorded = self.study.trials()
        return bool(recorded) and self._ended(recorded) and not self.again

    def waiting(self) -> bool:
        """Whether nothing may start yet: everything is compared with the baseline."""
        baseline = self.study.baseline()
        return baseline is not None and baseline.status == "running"

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record how a trial ended."""
        self.on_trial(self.study.tell(number, evaluation))

    def run(self) -> None:
        """Run trials until the end; Ray must be up (`ray_session`)."""
        from ray import tune

        from .searcher import StudySearcher

        searcher = StudySearcher(self)
        trainable = tune.with_resources(
            tune.with_parameters(_trainable, body=self.body),
            lambda job: resources_of(job["configuration"]),
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=self.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"{os.getpid()}-{time.time_ns()}",
                storage_path=str((self.study.experiment.results / "ray").absolute()),
                verbose=0,
            ),
        )
        tuner.fit()


def interrupted(trial: Trial) -> bool:
    """Whether a trial never ended by itself: it was running when a driver did."""
    evaluation = trial.evaluation
    return trial.status == "failed" and (
        evaluation is None or evaluation.message.startswith("the search ended while")
    )


def _trainable(job: Mapping[str, Any], body: Body) -> None:
    """A trial in its worker: result file first, report second."""
    from ray import tune

    try:
        evaluation = body(job)
    except Exception as error:  # the trial's border: whatever happens is its result
        lines = traceback.format_exc().splitlines()
        evaluation = Evaluation(
            status="failed",
            cause="exception",
            stage="prepare",
            message=f"{type(error).__name__}: {error}",
            log=tuple(lines[-LOG_LINES:]),
        ).to_dict()
    path = Path(job["folder"], "trials", f"{job['number']:05}.json")
    write_whole(path, json.dumps(evaluation))
    tune.report({"number": job["number"], "evaluation": json.dumps(evaluation)})
