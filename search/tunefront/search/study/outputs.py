"""What each trial answered to a few items, in small files beside the record."""

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
    """Where the samples of a trial are."""
    return results / OUTPUTS_FOLDER / f"{number:05}.json.gz"


def write_trial_outputs(results: Path, number: int, samples: Sequence[Sample]) -> None:
    """Keep a trial's samples, where there are any; a disk that is full does without them."""
    if samples:
        text = json.dumps([asdict(sample) for sample in samples], ensure_ascii=False)
        with suppress(OSError):
            write_whole(samples_file(results, number), gzip.compress(text.encode(), mtime=0))


def read_trial_outputs(results: Path, number: int) -> tuple[Sample, ...]:
    """What `write_samples` kept; empty where there is nothing that can be read."""
    try:
        fields = json.loads(gzip.decompress(samples_file(results, number).read_bytes()))
        return tuple(Sample(**sample) for sample in fields)
    except (OSError, EOFError, zlib.error, ValueError, TypeError):
        return ()


def outputs_of(experiment: Experiment, trials: Sequence[Trial]) -> Mapping[int, Sequence[Sample]]:
    """The samples of trials by their numbers; those that have none are left out."""
    found = {trial.number: read_trial_outputs(experiment.results, trial.number) for trial in trials}
    return {number: samples for number, samples in found.items() if samples}
