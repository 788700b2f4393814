"""The saved views of a search: front, picks, charts of all trials, failed trials, outputs."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from tunefront.evaluators.statistics.formatting import value_text
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.results.result import Result, choices_of

from .views import (
    NAME_EDGES_PX,
    Charts,
    View,
    difference_chart,
    logged_name,
    parallel,
    scatter,
    width_px,
)

PAGE = 100
"""Number of runs that MLflow's page shows at once, also in charts."""
COMPARED = ("speedup_x", "memory_saving_x", QUALITY_DROP.name)
STAGE_PX, WORDS_PX, REASON_PX = 90, 400, 420


def views_of(result: Result, base_run: str | None, *, has_outputs: bool = False) -> list[View]:
    """Return the views of a search, the front first.

    Args:
        result: The search's result.
        base_run: The id of the baseline's run; None if it has none.
        has_outputs: Whether runs contain outputs of the shortlist.
    """
    views = list(result.views.values())
    measured = sum(trial.measured for trial in result.trials)
    failed = sum(trial.status == "failed" for trial in result.trials)
    metrics, choices = _metric_columns(result), _choices(result)
    role = {"tags.`role`": width_px([view.role_text for view in views])}
    names_px = width_px([view.short_name for view in views], NAME_EDGES_PX)
    first = result.experiment.objectives[0]
    best, least = f"metrics.`{logged_name(first.metric)}`", first.direction == "minimize"
    crowded = measured > PAGE
    return [
        View(
            key="front",
            title=f"1 Front, baseline, defaults{_part(len(result.shortlist))}",
            filter="tags.shortlist = 'true'",
            order=best,
            ascending=least,
            names_px=names_px,
            columns={**role, **metrics, **choices},
            charts=[_pairs(result)],
        ),
        View(
            key="picks",
            title="2 Named picks",
            filter="tags.picks != ''",
            order=best,
            ascending=least,
            names_px=names_px,
            columns={**role, **metrics, **choices, "attributes.`Description`": WORDS_PX},
            charts=[_pairs(result)],
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
            columns={**role, **metrics, **choices},
            charts=_charts(result, base_run),
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
        *([_outputs(best, least, names_px, {**role, **metrics, **choices})] if has_outputs else []),
    ]


def _outputs(order: str, ascending: bool, names_px: int, columns: Mapping[str, int]) -> View:
    """Return the view that shows the outputs of the shortlist side by side."""
    return View(
        key="outputs",
        title="5 Outputs side by side",
        filter="tags.shortlist = 'true'",
        order=order,
        ascending=ascending,
        names_px=names_px,
        columns=columns,
        mode="ARTIFACT",
    )


def _part(count: int) -> str:
    """Format how many runs the page shows; empty if it shows all."""
    return f" ({PAGE} of {count})" if count > PAGE else ""


def _metric_columns(result: Result) -> Mapping[str, int]:
    names = [objective.metric for objective in result.experiment.objectives]
    return {
        f"metrics.`{logged_name(name)}`": width_px([logged_name(name), *_longest(result, name)])
        for name in dict.fromkeys([*names, *COMPARED])
    }


def _longest(result: Result, metric: str) -> list[str]:
    return [value_text(t.measurements[metric]) for t in result.trials if metric in t.measurements]


def _choices(result: Result) -> Mapping[str, int]:
    """Return the columns of the choices that vary in the space, with their widths in pixels."""
    shown = _varied(result)
    cells = [choices_of(trial, shown) for trial in result.trials]
    return {f"params.`{name}`": width_px([name, *(cell[name] for cell in cells)]) for name in shown}


def _varied(result: Result) -> list[str]:
    choices = result.experiment.space.choices
    return [choice.name for choice in choices if len(choice.values) > 1]


def _pairs(result: Result) -> Charts:
    """Return a scatter chart for every pair of objectives."""
    objectives = [objective.metric for objective in result.experiment.objectives]
    cards = [scatter(x, y) for x, y in combinations(objectives, 2)]
    return Charts(title="Trade-offs", cards=cards, columns=min(max(len(cards), 1), 3))


def _charts(result: Result, base_run: str | None) -> Sequence[Charts]:
    objectives = [objective.metric for objective in result.experiment.objectives]
    ways = parallel(_varied(result), objectives)
    found = [_pairs(result), Charts(title="Choices and objectives", cards=[ways], columns=1)]
    if base_run is not None:
        cards = [difference_chart(base_run)]
        found.append(
            Charts(title="Difference to the baseline", cards=cards, columns=1, height_px=560)
        )
    return [charts for charts in found if charts.cards]
