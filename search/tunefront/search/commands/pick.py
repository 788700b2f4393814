"""`tunefront pick`: pick trials from the record under other limits or preferences."""

from collections.abc import Sequence
from pathlib import Path

import click

from tunefront.search.exit_codes import ExitCode

from .arguments import (
    print_result,
    with_experiment,
    with_format,
)


@click.command("pick")
@with_experiment
@click.option("--limit", "limits", multiple=True, metavar="'METRIC<=NUMBER'", help="A limit.")
@click.option("--prefer", metavar="METRIC", help="The metric that decides.")
@with_format
def pick_command(experiment: Path, limits: Sequence[str], prefer: str | None, style: str) -> int:
    """Pick trials from the record with other limits or another preferred metric.

    Nothing is run. A limit replaces the experiment's limit on the same metric; its other limits
    still hold. Exit code 3 if no trial keeps the limits.

    \b
    tunefront pick experiments/minilm --limit 'latency_ms<=12' --prefer throughput
    """
    from tunefront.search.experiment.objective import Limit
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.result import study_result
    from tunefront.search.study.study import Study
    from tunefront.search.terminal.result import relaxation_lines

    loaded = open_search(experiment)
    chosen = tuple(Limit.parse_expression(text, loaded.metrics) for text in limits)
    named = {limit.metric for limit in chosen}
    kept = tuple(limit for limit in loaded.limits if limit.metric not in named)
    result = study_result(Study.read(loaded), (*kept, *chosen), prefer)
    print_result(result, style)
    if style == "table" and (lines := relaxation_lines(result, (*kept, *chosen), prefer)):
        click.echo("\n".join(["", "relaxing one limit alone would gain:", *lines]))
    if result.front.trials:
        return 0
    return ExitCode.NO_TRIAL_WITHIN_LIMITS
