"""Texts in MLflow: the experiment's note in Markdown, and a short note for each run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefront.evaluators.statistics.formatting import value_text
from tunefront.search.results.result import Result, choices_of
from tunefront.search.results.view import TrialView
from tunefront.search.study.trial import Trial
from tunefront.search.text import MOST_LISTED, command_text, counted

LONGEST_NOTE = 20_000
"""Characters to which the experiment's note is cut."""
FRONT_ROWS, FAILURES_SHOWN, LONGEST_CELL = 25, 20, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The links of the experiment's note, relative to MLflow's address.

    Attributes:
        runs: The runs' addresses by trial number.
        views: The views' addresses by title.
        picture: The address of the front's picture.
        report: The address of the report.
    """

    runs: Mapping[int, str]
    views: Mapping[str, str]
    picture: str
    report: str


def search_note(view: TrialView, result: Result) -> str:
    """Return a run's note: the trial's role, values and warnings, and its export or show command.

    MLflow shows it as the tooltip of a point.
    """
    text = "; ".join(filter(None, [view.sentence, view.ties_text, *view.remarks]))
    command = command_of(view.trial, result)
    return f"{text}\n\n    {command}" if command else text


def command_of(trial: Trial, result: Result) -> str:
    """Return the command that exports a measured trial or shows another one.

    Empty for a quick check, whose measurements are not valid results.
    """
    if result.experiment.smoke:
        return ""
    verb = "export" if trial.measured else "show"
    return command_text(verb, result.experiment.path, str(trial.number))


def front_page(result: Result, links: Links) -> str:
    """Return the experiment's note in Markdown.

    It contains the result, the export command, views, picks, the front, counts, failures and
    excluded configurations.
    """
    parts = [
        [f"**{_plain(result.headline())}** ([the whole report]({links.report}))"],
        _export(result),
        [" · ".join(f"[{title}]({address})" for title, address in links.views.items())],
        _picks(result, links),
        [f"![the front]({links.picture})"],
        _front_table(result, links),
        _counts(result),
        _failures(result, links),
        _skipped(result),
        [
            "A view shows 100 runs at once, and charts of more begin with the front; the report "
            "shows every trial. In differences red means less and green more, not worse and "
            "better. To export from here: open a run, add the tag `pick` with the value `yes`, "
            f"then `{command_text('export', result.experiment.path, '--picked')}`. "
            "Press *Override saved view* to keep a view's columns and charts after a reload."
        ],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)[:LONGEST_NOTE]


def _export(result: Result) -> list[str]:
    recommended = result.front.recommended
    command = command_of(recommended, result) if recommended is not None else ""
    return [f"    {command}"] if command else []


def _picks(result: Result, links: Links) -> list[str]:
    if not result.front.picks:
        return []
    rows = [
        [
            pick.name,
            _link(pick.trial, links),
            result.view(pick.trial).sentence,
            pick.reason,
            f"`{command}`" if (command := command_of(pick.trial, result)) else "-",
        ]
        for pick in result.front.picks
    ]
    return _table(["pick", "trial", "against the baseline", "why", "export command"], rows)


def _front_table(result: Result, links: Links) -> list[str]:
    objectives = [objective.metric for objective in result.experiment.objectives]
    choices = [choice.name for choice in result.experiment.space.choices]
    rows = [
        [
            _link(trial, links),
            result.view(trial).trust_text,
            *(value_text(trial.measurements[name]) for name in objectives),
            *choices_of(trial, choices).values(),
        ]
        for trial in result.front.trials[:FRONT_ROWS]
    ]
    left = len(result.front.trials) - len(rows)
    more = ["", f"and {counted(left, 'trial')} more on the front"] if left > 0 else []
    return [*_table(["trial", "trust", *objectives, *choices], rows), *more] if rows else []


def _counts(result: Result) -> list[str]:
    failed = sum(trial.status == "failed" for trial in result.trials)
    beyond = sum(trial.status == "infeasible" for trial in result.trials)
    skipped = f", {counted(result.skipped, 'configuration')} skipped" if result.skipped else ""
    return [
        f"{counted(len(result.trials), 'trial')}: {len(result.front.trials)} on the front, "
        f"{beyond} beyond the limits, {failed} failed{skipped}. "
        "Red: front. Green: recommended. Blue: baseline. Grey: dominated."
    ]


def _failures(result: Result, links: Links) -> list[str]:
    """Return the table of failed trials by cause and stage, each with its first error message."""
    rows = [
        [
            group.cause,
            group.stage,
            str(len(group.trials)),
            _several(group.trials, links),
            next(iter(group.messages[0].splitlines()), ""),
        ]
        for group in result.failures
    ]
    return _table(["failed", "at", "trials", "which", "error message"], rows) if rows else []


def _skipped(result: Result) -> list[str]:
    """Return the inferred failures with the number of configurations that each excludes."""
    lines = [
        f"- {_plain(str(failure))}: {counted(count, 'configuration')}"
        for failure, count in result.ruled_out
    ]
    left = len(lines) - FAILURES_SHOWN
    return lines[:FAILURES_SHOWN] + (
        [f"- and {left} more inferred failures: see the report"] if left > 0 else []
    )


def _several(trials: Sequence[Trial], links: Links) -> str:
    named = [_link(trial, links, f"{trial.number:03}") for trial in trials[:MOST_LISTED]]
    return ", ".join([*named, "..."] if len(trials) > MOST_LISTED else named)


def _link(trial: Trial, links: Links, name: str = "") -> str:
    shown = name or trial.name()
    return f"[{shown}]({links.runs[trial.number]})" if trial.number in links.runs else shown


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _cell(text: str) -> str:
    return _plain(text)[:LONGEST_CELL].replace("|", "\\|")


def _plain(text: str) -> str:
    """Return a text as one line with single spaces."""
    return " ".join(text.split())
