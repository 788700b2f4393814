"""What MLflow shows in words: the experiment's front page, a sentence for every run."""

from collections.abc import Mapping

from tunefront.search.answer import Answer, choices_of, figure
from tunefront.search.trial import Trial
from tunefront.search.words import counted


def describe(trial: Trial, answer: Answer) -> str:
    """One plain sentence, which MLflow shows when the mouse is on a point."""
    told = answer.sentence(trial)
    ties = answer.front.ties.get(trial.number, ())
    if ties:
        told += "; can't be told apart from " + ", ".join(f"{t.number:03}" for t in ties[:5])
    if trial.evaluation is not None and trial.evaluation.doubts:
        told += f"; to be doubted: {', '.join(trial.evaluation.doubts)}"
    return told + (f"; breaks {trial.cause}" if trial.broken else "")


def front_page(
    answer: Answer, links: Mapping[int, str], picture: str, report: str, outputs: str = ""
) -> str:
    """The experiment's note in Markdown: the answer first, picks, the front, the picture.

    Args:
        answer: What the search found.
        links: To the runs, by trial number.
        picture: The address of the front's picture.
        report: The address of the report.
        outputs: The address of answers side by side; none where there are none.
    """
    beside = f", [what the front answers]({outputs})" if outputs else ""
    lines = [f"**{answer.headline()}** ([the whole report]({report}){beside})", ""]
    if answer.front.picks:
        lines += ["| pick | trial | against the baseline | why |", "|---|---|---|---|"]
        lines += [
            f"| {pick.name} | {_link(pick.trial, links)} | {answer.sentence(pick.trial)} "
            f"| {pick.reason} |"
            for pick in answer.front.picks
        ]
        lines.append("")
    lines += [f"![the front]({picture})", "", *_front_table(answer, links), ""]
    lines += _counts(answer)
    return "\n".join(lines)


def _link(trial: Trial, links: Mapping[int, str]) -> str:
    name = trial.name()
    return f"[{name}]({links[trial.number]})" if trial.number in links else name


def _front_table(answer: Answer, links: Mapping[int, str]) -> list[str]:
    objectives = [objective.metric for objective in answer.experiment.objectives]
    choices = [choice.name for choice in answer.experiment.space.choices]
    header = ["trial", *objectives, *choices]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for trial in answer.front.trials:
        figures = [figure(trial.measurements[name]) for name in objectives]
        cells = [_link(trial, links), *figures, *choices_of(trial, choices).values()]
        lines.append("| " + " | ".join(cells) + " |")
    return lines if answer.front.trials else []


def _counts(answer: Answer) -> list[str]:
    failed = sum(trial.status == "failed" for trial in answer.trials)
    beyond = sum(trial.status == "infeasible" for trial in answer.trials)
    return [
        f"{counted(len(answer.trials), 'trial')}: {len(answer.front.trials)} on the front, "
        f"{beyond} beyond the limits, {failed} failed. "
        "Red: front. Green: recommended. Blue: baseline. Grey: beaten.",
        *(f"- {lesson}" for lesson in answer.lessons),
        "",
        "Press *Override saved view* to keep this view's columns and charts after a reload.",
    ]
