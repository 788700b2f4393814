"""What commands print about a result."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.commands.arguments import print_result
from tunefront.search.report.sections import account_of
from tunefront.search.study.confirmation import Confirmation


def test_a_result_of_scarce_data_has_a_warning(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = {"throughput": 1.0, "peak_memory_mb": 1.0, "perplexity": 9.0, "quality_drop": 0.0}
    experiment = load()
    baseline = trial(
        0, experiment.baseline, evaluation=evaluation([1.0, 2.0, 3.0, 4.0, 5.0]), **figures
    )
    unknown = replace(baseline, evaluation=evaluation())
    for shown, expected in ((baseline, True), (unknown, False)):
        result = result_of(experiment, [shown], Confirmation(rounds={}))
        text = "5 items: a change of quality below about 9.8 % can't be seen, the limit is 5 %"
        print_result(result, "table")
        assert (f"warning: {text}" in capsys.readouterr().out) is expected
        print_result(result, "json")
        assert (json.loads(capsys.readouterr().out)["scarcity"] is not None) is expected
        assert (text in json.dumps(account_of(result, {}))) is expected
