"""Quality by the user's command, which sends requests to a server and prints scores."""

import json
import shlex
import subprocess
from pathlib import Path

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.sources.callables import scores_of
from tunefront.evaluators.workloads.spec import SERVER_MODEL, SERVER_URL, WorkloadSpec
from tunefront.spaces import EvaluationError

MOST_TEXT = 500
"""Characters of the command's output in an error."""


def command_files(spec: WorkloadSpec) -> tuple[Path, ...]:
    """Return the files below the experiment's folder that the command names, without repetition."""
    if spec.quality_command is None:
        return ()
    named = {spec.path(word) for word in shlex.split(spec.quality_command)}
    return tuple(sorted(path for path in named if path.is_file()))


def command_scores(spec: WorkloadSpec, url: str, model: str) -> Array:
    """Run the command in the experiment's folder; return its scores, shape `(items,)`.

    The last line that it prints is JSON: a number, or a list with one for each item.

    Args:
        spec: The workload.
        url: Address of the server, as in `http://127.0.0.1:8000`.
        model: Name of the model in requests.

    Raises:
        EvaluationError: If it can't be started, or exits with another code than 0 (cause
            "exception"); if it prints no finite numbers (cause "invalid output").
    """
    written = shlex.split(str(spec.quality_command))
    words = [word.format(**{SERVER_URL: url, SERVER_MODEL: model}) for word in written]
    try:
        ran = subprocess.run(words, cwd=spec.folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise EvaluationError(
            f"quality.command: {words[0]!r} can't be started: {error}; it runs in {spec.folder}",
            cause="exception",
        ) from error
    if ran.returncode:
        raise EvaluationError(
            f"quality.command: {spec.quality_command!r} exited with code {ran.returncode}: "
            f"{(ran.stderr or ran.stdout).strip()[-MOST_TEXT:]}",
            cause="exception",
        )
    last = (ran.stdout.strip().splitlines() or [""])[-1]
    try:
        return scores_of(words[0], json.loads(last))
    except ValueError as error:
        raise EvaluationError(
            "quality.command: the last line that the command prints must be a JSON number or a "
            f"list of numbers, one for each item, but got {last[-MOST_TEXT:]!r}",
            cause="invalid output",
        ) from error
