"""The report as one HTML file with data, style and script inlined; it fetches nothing.

Text from users is inserted escaped, or as JSON that can't contain a tag. The page's content
security policy allows only its own script and style, by hash, and nothing to be fetched.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any

from tunefront.evaluators import Sample
from tunefront.search.results.result import Result
from tunefront.search.study.atomic_write import write_whole
from tunefront.search.study.outputs import outputs_of

from .data import report_data
from .front_chart import ROLE_COLOURS

REPORT_FILE = "report.html"
SCRIPTS = (
    "picks.js",
    "numbers.js",
    "elements.js",
    "axes.js",
    "charts.js",
    "table.js",
    "sections.js",
    "loads.js",
    "outputs.js",
    "limits.js",
    "card.js",
    "main.js",
)
"""The script's files, concatenated in this order."""


def report_html(
    result: Result,
    record: Mapping[str, Any],
    samples: Mapping[int, Sequence[Sample]] = MappingProxyType({}),
) -> str:
    """Return the report of a search as HTML.

    Args:
        result: The result of the search.
        record: Metadata of `search.json`: machine, workload, dropped combinations; can be empty.
        samples: Recorded outputs of the baseline and the picks, by trial number.
    """
    return data_page(report_data(result, record, samples))


def write_report(result: Result, record: Mapping[str, Any], path: Path | None = None) -> Path:
    """Write the report to `path`, by default next to the record, and return its path."""
    target = path or result.experiment.results / REPORT_FILE
    named = [*result.trials[:1], *(pick.trial for pick in result.front.picks)]
    write_whole(target, report_html(result, record, outputs_of(result.experiment, named)))
    return target


def data_page(data: Mapping[str, Any]) -> str:
    """Return the HTML page that shows the data."""
    script = "\n".join(_part(name) for name in SCRIPTS)
    style = _colours() + _part("page.css")
    page = Template(_part("page.html")).substitute(
        title=escape(f"{data['name']}: {data['headline']}"),
        name=escape(data["name"]),
        headline=escape(data["headline"]),
        label="Recommended" if data["picks"] else "No recommendation",
        counts=escape(_counts(data)),
        picks=_picks(data),
        policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=_json(data),
    )
    return page.encode("utf-8", "replace").decode()


def _part(name: str) -> str:
    return (files("tunefront.search.report") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _json(data: Mapping[str, Any]) -> str:
    """Return JSON with `<`, `>` and `&` escaped, so that it contains no tag, comment or entity."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _colours() -> str:
    """Return the colours of the front chart as CSS variables."""
    named = "".join(f"--{role}:{colour};" for role, colour in ROLE_COLOURS.items())
    return f":root{{{named}}}\n"


def _counts(data: Mapping[str, Any]) -> str:
    """Describe the numbers of trials by status, and the baseline."""
    trials = data["trials"]
    kinds = {
        "beyond the limits": sum(trial["status"] == "infeasible" for trial in trials),
        "failed": sum(trial["status"] == "failed" for trial in trials),
    }
    counts = [f"{len(trials)} trials", *(f"{count} {name}" for name, count in kinds.items())]
    base = next((t["name"] for t in trials if t["number"] == data["baseline"]), None)
    compared = f"; compared with the baseline, {base}" if base is not None else ""
    quick = " A quick check: its measurements are not meaningful." if data["smoke"] else ""
    return f"{', '.join(counts)}{compared}.{quick}"


def _picks(data: Mapping[str, Any]) -> str:
    """Return the picks as table rows; the script replaces them when limits are changed."""
    trials = {trial["number"]: trial for trial in data["trials"]}
    rows = []
    for pick in data["picks"]:
        trial = trials[pick["trial"]]
        cells = [trial["name"], trial["sentence"], pick["reason"]]
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(pick["name"])}</th>{row}</tr>')
    return "\n".join(rows)
