"""Example outputs of trials: the model's outputs for a few items, in files next to the record."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tunefront.evaluators import Sample
from tunefront.search.experiment.experiment import Experiment

from .atomic_write import write_whole
from .trial import Trial

OUTPUTS_FOLDER = "samples"


def samples_file(results: Path, number: int) -> Path:
    """Return the path of a trial's example outputs."""
    return results / OUTPUTS_FOLDER / f"{number:05}.json.gz"


def write_trial_outputs(results: Path, number: int, samples: Sequence[Sample]) -> None:
    """Write a trial's example outputs, if any; errors such as a full disk are ignored."""
    if samples:
        text = json.dumps([asdict(sample) for sample in samples], ensure_ascii=False)
        with suppress(OSError):
            write_whole(samples_file(results, number), gzip.compress(text.encode(), mtime=0))


def read_trial_outputs(results: Path, number: int) -> tuple[Sample, ...]:
    """Return what `write_trial_outputs` wrote; empty if the file is missing or unreadable."""
    try:
        fields = json.loads(gzip.decompress(samples_file(results, number).read_bytes()))
        return tuple(Sample(**sample) for sample in fields)
    except (OSError, EOFError, zlib.error, ValueError, TypeError):
        return ()


def outputs_of(experiment: Experiment, trials: Sequence[Trial]) -> Mapping[int, Sequence[Sample]]:
    """Return example outputs by trial number; trials without any are left out."""
    found = {trial.number: read_trial_outputs(experiment.results, trial.number) for trial in trials}
    return {number: samples for number, samples in found.items() if samples}
