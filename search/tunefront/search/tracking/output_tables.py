"""Example outputs in the form of MLflow's artifact view: a table per run and a tag that names it.

The file has the format of `mlflow.log_table` (pandas' `split`). `log_table` is not used, because it
appends to an existing file, so that writing again would duplicate rows.
"""

import json
from collections.abc import Sequence
from typing import Any

from tunefront.evaluators import Metric, Sample
from tunefront.search.results.result import rounded
from tunefront.search.results.trial_comparison import item_quality
from tunefront.search.study.trial import Trial

OUTPUTS_FILE = "samples.json"
LOGGED = "mlflow.loggedArtifacts"
"""The tag in which MLflow lists a run's tables."""
_ENTRY = {"path": OUTPUTS_FILE, "type": "table"}


def outputs_table(samples: Sequence[Sample], trial: Trial, primary: Metric) -> dict[str, Any]:
    """Return a table with one row per item: input, output, expected output, right, quality."""
    names = ["input", "output", "expected", "right", primary.name]
    rows = [[s.input, s.output, s.expected, s.right, _quality(trial, s, primary)] for s in samples]
    return {"columns": names, "data": rows}


def _quality(trial: Trial, sample: Sample, primary: Metric) -> float | None:
    found = item_quality(trial, sample.item, primary)
    return None if found is None else rounded(found)


def logged_with(tag: str) -> str | None:
    """Return the tag's value with this table added; None if the tag contains it already."""
    entries = json.loads(tag)
    return None if _ENTRY in entries else json.dumps([*entries, _ENTRY])
