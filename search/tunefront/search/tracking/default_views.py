"""The saved views of a search: front, picks, charts of all trials, failed trials, outputs."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.results.result import Result, choices_of, figure
from tunefront.search.results.view import role_of
from tunefront.search.study.trial import Trial

from .views import NAME_EDGES_PX, Charts, View, difference_chart, parallel, scatter, width_px

PAGE = 100
"""Number of runs that MLflow's page shows at once, also in charts."""
COMPARED = ("speedup_x", "memory_saving_x", QUALITY_DROP.name)
STAGE_PX, WORDS_PX, REASON_PX = 90, 400, 420


def views_of(answer: Result, base_run: str | None, *, answers: bool = False) -> list[View]:
    """Return the views of a search, the front first.

    Args:
        answer: The search's result.
        base_run: The id of the baseline's run; None if it has none.
        answers: Whether runs contain outputs of the shortlist.
    """
    front = {trial.number for trial in answer.front.trials}
    shortlist = len(front | {0}) if answer.baseline is not None else len(front)
    measured = sum(trial.measured for trial in answer.trials)
    failed = sum(trial.status == "failed" for trial in answer.trials)
    figures, choices = _figures(answer), _choices(answer)
    role = {"tags.`role`": width_px([role_told(answer, trial) for trial in answer.trials])}
    names_px = width_px([t.short_name() for t in answer.trials], NAME_EDGES_PX)
    first = answer.experiment.objectives[0]
    best, least = f"metrics.`{first.metric}`", first.direction == "minimize"
    crowded = measured > PAGE
    return [
        View(
            key="front",
            title=f"1 Front + baseline{_part(shortlist)}",
            filter="tags.shortlist = 'true'",
            order=best,
            ascending=least,
            names_px=names_px,
            columns={**role, **figures, **choices},
            charts=[_pairs(answer)],
        ),
        View(
            key="picks",
            title="2 Named picks",
            filter="tags.picks != ''",
            order=best,
            ascending=least,
            names_px=names_px,
            columns={**role, **figures, **choices, "attributes.`Description`": WORDS_PX},
            charts=[_pairs(answer)],
        ),
        View(
            key="all",
            title=f"3 Charts: {PAGE} of {measured}, report: all"
            if crowded
            else "3 Charts: all trials",
            filter="tags.front != 'none'",
            order="tags.`shortlist`" if crowded else best,
            ascending=False if crowded else least,
            names_px=names_px,
            columns={**role, **figures, **choices},
            charts=_charts(answer, base_run),
            mode="CHART",
        ),
        View(
            key="failed",
            title=f"4 Failed trials{_part(failed)}",
            filter="tags.status = 'failed'",
            order="tags.`mlflow.runName`",
            ascending=True,
            names_px=names_px,
            columns={"tags.`stage`": STAGE_PX, "tags.`reason`": REASON_PX, **choices},
        ),
        *([_answers(best, least, names_px, {**role, **figures, **choices})] if answers else []),
    ]


def _answers(order: str, ascending: bool, names_px: int, columns: Mapping[str, int]) -> View:
    """Return the view that shows the outputs of the shortlist side by side."""
    return View(
        key="answers",
        title="5 Answers side by side",
        filter="tags.shortlist = 'true'",
        order=order,
        ascending=ascending,
        names_px=names_px,
        columns=columns,
        mode="ARTIFACT",
    )


def on_shortlist(trial: Trial, answer: Result) -> bool:
    """Return whether a trial is on the shortlist: the front and the baseline."""
    return trial.number in {0, *(t.number for t in answer.front.trials)}


def _part(count: int) -> str:
    """Format how many runs the page shows; empty if it shows all."""
    return f" ({PAGE} of {count})" if count > PAGE else ""


def role_told(answer: Result, trial: Trial) -> str:
    """Return the names of a trial's picks, else its role; `failed` if it has no measurements."""
    picks = [pick.name for pick in answer.front.picks if pick.trial.number == trial.number]
    return (", ".join(picks) or role_of(answer, trial)) if trial.measured else "failed"


def _figures(answer: Result) -> Mapping[str, int]:
    names = [objective.metric for objective in answer.experiment.objectives]
    return {
        f"metrics.`{name}`": width_px([name, *_longest(answer, name)])
        for name in dict.fromkeys([*names, *COMPARED])
    }


def _longest(answer: Result, metric: str) -> list[str]:
    return [figure(t.measurements[metric]) for t in answer.trials if metric in t.measurements]


def _choices(answer: Result) -> Mapping[str, int]:
    """Return the columns of the choices that vary in the space, with their widths in pixels."""
    shown = _varied(answer)
    cells = [choices_of(trial, shown) for trial in answer.trials]
    return {f"params.`{name}`": width_px([name, *(cell[name] for cell in cells)]) for name in shown}


def _varied(answer: Result) -> list[str]:
    choices = answer.experiment.space.choices
    return [choice.name for choice in choices if len(choice.values) > 1]


def _pairs(answer: Result) -> Charts:
    """Return a scatter chart for every pair of objectives."""
    objectives = [objective.metric for objective in answer.experiment.objectives]
    cards = [scatter(x, y) for x, y in combinations(objectives, 2)]
    return Charts(title="Trade-offs", cards=cards, abreast=min(max(len(cards), 1), 3))


def _charts(answer: Result, base_run: str | None) -> Sequence[Charts]:
    objectives = [objective.metric for objective in answer.experiment.objectives]
    ways = parallel(_varied(answer), objectives)
    found = [_pairs(answer), Charts(title="Choices and objectives", cards=[ways], abreast=1)]
    if base_run is not None:
        cards = [difference_chart(base_run)]
        found.append(
            Charts(title="Difference to the baseline", cards=cards, abreast=1, height_px=560)
        )
    return [charts for charts in found if charts.cards]
