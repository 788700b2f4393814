"""`tunefront compare` on a record."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from tunefront.evaluators import Evaluation, Sample
from tunefront.search import Experiment
from tunefront.search.commands import COMMANDS
from tunefront.search.study.study import Study
from tunefront.spaces import Configuration, ExperimentError

Compare = Callable[..., Result]


@pytest.fixture
def compare(load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]) -> Compare:
    """The command, on a search of two trials."""
    experiment = load()
    study = Study.open(experiment, {"test": "yes"})
    for threads, output in ((1, "as before"), (2, "another thing")):
        samples = (Sample(item=0, input="go on", output=output),)
        ended = replace(evaluation(items=[2.0, 3.0]), outputs=samples)
        study.tell(study.ask(Configuration({**experiment.baseline, "threads": threads})), ended)
    (command,) = (command for command in COMMANDS if command.name == "compare")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(command, [str(experiment.path), *arguments])

    return call


def test_one_trial_is_compared_with_the_baseline(compare: Compare) -> None:
    text = compare("1").stdout
    assert "threads" in text
    assert "1 of 1 output differs from 000" in text
    assert "another thing" in text
    both = compare("1", "--format", "json").stdout
    assert both == compare("baseline", "1", "1", "--format", "json").stdout
    assert [trial["number"] for trial in json.loads(both)["trials"]] == [0, 1]


def test_the_baseline_alone_is_no_comparison(compare: Compare) -> None:
    with pytest.raises(
        ExperimentError, match="at least one trial besides the baseline is needed, but got only 000"
    ) as caught:
        raise compare("baseline").exception or AssertionError
    assert "--all` lists them" in str(caught.value)


def test_samples_are_shown_as_many_as_asked_for(compare: Compare) -> None:
    assert "go on" not in compare("0", "1", "--samples", "0").stdout
    assert compare("0", "1", "--samples", "-1").exit_code == 2
    assert "go on" in compare("0", "1", "--samples", "0", "--format", "csv").stdout
