"""The files of a result that a tracker stores: report, picture, trials, record, experiment file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.search.results.result import Result
from tunefront.search.results.rows import trials_csv, trials_json

from .front_chart import draw_front
from .page import REPORT_FILE, write_report


def write_artifacts(result: Result, record: Mapping[str, Any], folder: Path) -> None:
    """Write report, picture, trials (JSON and CSV), record and experiment file into a folder.

    The picture is omitted if no trial was measured.

    Args:
        result: The result of the search.
        record: Metadata of `search.json`; can be empty.
        folder: The folder; created if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(trial.measured for trial in result.trials):
        draw_front(result, folder / "front.png")
    write_report(result, record, folder / REPORT_FILE)
    (folder / "trials.json").write_text(trials_json(result) + "\n")
    (folder / "trials.csv").write_text(trials_csv(result))
    (folder / "search.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    (folder / "experiment.yaml").write_text(result.experiment.path.read_text())
