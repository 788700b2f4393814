"""Profiling of a trial: profile and suggestions, written as files next to the search's record."""

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunefront.evaluators import EvaluationSettings, Isolation, Profile, profile_candidate
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.search.results.result import Result
from tunefront.search.study.atomic_write import write_whole
from tunefront.search.study.trial import Trial
from tunefront.search.text import OnMessage, command_text, wait_messages
from tunefront.spaces import EvaluationError, ExperimentError

from .advice import Situation, Suggestion, suggestions_for
from .chart import draw_profile

TRACE, PICTURE, DATA, TABLE = "trace.json", "profile.png", "profile.json", "profile.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledTrial:
    """A trial's profile with suggestions.

    Attributes:
        trial: The trial.
        profile: The profile of its time.
        suggestions: Choices that could address its bottlenecks.
        folder: The folder with trace, chart and data.
    """

    trial: Trial
    profile: Profile
    suggestions: Sequence[Suggestion]
    folder: Path


def profile_trial(
    result: Result,
    trial: Trial,
    settings: EvaluationSettings,
    on_message: OnMessage = lambda line: None,
) -> ProfiledTrial:
    """Profile a measured trial and write its files, replacing an earlier profile of it.

    Args:
        result: The result of the search.
        trial: The trial to profile.
        settings: The evaluation settings of the search.
        on_message: Called with what it waits for.

    Raises:
        ExperimentError: If the trial was not measured, or the search is a quick check.
        EvaluationError: If the trial can't be built, run or profiled; carries the cause.
    """
    experiment = result.experiment
    if experiment.smoke:
        raise ExperimentError(
            f"{experiment.name}: a quick check is not profiled, because its measurements "
            f"are not meaningful; run the search: {command_text('run', experiment.path)}"
        )
    if not trial.measured:
        raise ExperimentError(
            f"trial {trial.number} {trial.status}: only measured trials are profiled; "
            f"see `{command_text('show', experiment.path, str(trial.number))}`"
        )
    folder = experiment.results / "profiles" / f"{trial.number:03}"
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        profile = _profile(result, trial, settings, on_message, partial)
        found = ProfiledTrial(
            trial=trial,
            profile=profile,
            suggestions=_suggestions(result, trial, profile),
            folder=folder,
        )
        write_whole(partial / DATA, json.dumps(profile_record(found), indent=1) + "\n")
        write_whole(partial / TABLE, profile_csv(profile))
        draw_profile(profile, f"{trial.name()}: where the time goes", partial / PICTURE)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def _profile(
    result: Result,
    trial: Trial,
    settings: EvaluationSettings,
    on_message: OnMessage,
    folder: Path,
) -> Profile:
    log = result.experiment.results / "logs" / f"profile-{trial.number:05}.log"
    lessee = Lessee.this_process(f"profile of {trial.name()}")
    isolation = Isolation(lessee, wait_messages(on_message))
    try:
        return profile_candidate(
            settings, trial.complete, isolation, log, folder.absolute() / TRACE
        )
    except EvaluationError as error:
        raise EvaluationError(
            f"trial {trial.number} can't be profiled: {error} ({error.cause}); see {log}",
            cause=error.cause,
        ) from error
    finally:
        isolation.close()


def _suggestions(result: Result, trial: Trial, profile: Profile) -> list[Suggestion]:
    space = result.experiment.space
    situation = Situation(
        profile=profile,
        configuration=trial.complete,
        cores=space.context.hardware.leasable_cores,
        rate=result.experiment.rate,
    )
    return suggestions_for(situation, space, result.trials, trial.number)


def profile_record(found: ProfiledTrial) -> dict[str, Any]:
    """Return everything about a profile as plain JSON values."""
    profile = found.profile
    return {
        "schema": 1,
        "trial": found.trial.number,
        "configuration": dict(found.trial.configuration),
        "request_ms": profile.request_ms,
        "profiled_ms": profile.profiled_ms,
        "profiler_overhead": profile.overhead,
        "bounds": profile.bounds(),
        "roofline": asdict(profile.roofline),
        "whole": asdict(profile.whole()),
        "by_kind": [asdict(part) for part in profile.by_kind()],
        "by_operator": [asdict(part) for part in profile.by_operator()],
        "by_module": [asdict(part) for part in profile.by_module()],
        "rows": [asdict(row) for row in profile.rows],
        "suggestions": [asdict(suggestion) for suggestion in found.suggestions],
        "notes": list(profile.notes),
        "facts": dict(profile.facts),
    }


def profile_csv(profile: Profile) -> str:
    """Return the profile's rows as CSV; unknown values are empty cells."""
    names = ("operator", "kind", "module", "calls", "self_ms", "flops", "moved_bytes")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "share", "bound"])
    for row, share, bound in profile.bounded_rows():
        fields = asdict(row)
        cells = ["" if fields[name] is None else fields[name] for name in names]
        writer.writerow([*cells, share, bound])
    return text.getvalue()
