"""Samples as MLflow's view of artifacts reads them: a table a run, and a tag that names it.

The file has the form that `mlflow.log_table` writes (pandas' `split`). It is written by us, because
`log_table` adds to a file that is there: what is written again would stand there twice.
"""

import json
from collections.abc import Sequence
from typing import Any

from tunefront.evaluators import Metric, Sample
from tunefront.search.results.trial_comparison import item_quality
from tunefront.search.study.trial import Trial

OUTPUTS_FILE = "samples.json"
LOGGED = "mlflow.loggedArtifacts"
"""The tag by which MLflow knows a run's tables."""
_ENTRY = {"path": OUTPUTS_FILE, "type": "table"}


def outputs_table(samples: Sequence[Sample], trial: Trial, primary: Metric) -> dict[str, Any]:
    """A row an item: what was asked, what the trial answered, and how good that is."""
    names = ["input", "output", "expected", "right", primary.name]
    rows = [
        [s.input, s.output, s.expected, s.right, item_quality(trial, s.item, primary)]
        for s in samples
    ]
    return {"columns": names, "data": rows}


def logged_with(tag: str) -> str | None:
    """The tag with our table in it; None where it is there already."""
    entries = json.loads(tag)
    return None if _ENTRY in entries else json.dumps([*entries, _ENTRY])
