"""Samples in files beside the record: small, whole or not there, and never in the study."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tunefront.evaluators import Evaluation, Sample
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.search import Experiment, Trial
from tunefront.search.study.outputs import (
    outputs_of,
    read_trial_outputs,
    samples_file,
    write_trial_outputs,
)
from tunefront.search.study.study import STUDY_FILE, Study
from tunefront.spaces import Configuration

SAMPLES = (
    Sample(item=3, input="in\n", output="out ✓", expected="out", right=False),
    Sample(item=5, input="a", output="b", score=0.25, score_name="cosine"),
)


def test_samples_go_to_a_file_and_back(tmp_path: Path) -> None:
    write_trial_outputs(tmp_path, 7, SAMPLES)
    assert samples_file(tmp_path, 7) == tmp_path / "samples" / "00007.json.gz"
    assert read_trial_outputs(tmp_path, 7) == SAMPLES
    assert os.listdir(tmp_path / "samples") == ["00007.json.gz"], "nothing half-written stays"


def test_a_trial_without_samples_leaves_nothing(tmp_path: Path) -> None:
    write_trial_outputs(tmp_path, 7, ())
    assert os.listdir(tmp_path) == []
    assert read_trial_outputs(tmp_path, 7) == ()


def test_twelve_samples_of_the_longest_texts_stay_small(tmp_path: Path) -> None:
    """Text that does not compress, in a script of three bytes a letter; a plain text takes 2 kB."""
    digits = gzip.compress(os.urandom(6000)).hex()
    letters = "".join(chr(0x4E00 + int(digits[i : i + 2], 16)) for i in range(0, 11520, 2))
    texts = [letters[i : i + 160] for i in range(0, 36 * 160, 160)]
    asked = zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    samples = [Sample(item=i, input=a, output=b, expected=c) for i, (a, b, c) in enumerate(asked)]
    assert len(samples) == 12
    write_trial_outputs(tmp_path, 1, samples)
    assert samples_file(tmp_path, 1).stat().st_size < 10_000


def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path) -> None:
    write_trial_outputs(tmp_path, 1, SAMPLES)
    path = samples_file(tmp_path, 1)
    whole = path.read_bytes()
    for content in (b"", whole[:-9], b"no gzip", whole[:20] + b"\0\0\0" + whole[23:]):
        path.write_bytes(content)
        assert read_trial_outputs(tmp_path, 1) == ()
    for text in ("[1]", '[{"item": 1}]', "{", '"text"'):
        path.write_bytes(gzip.compress(text.encode()))
        assert read_trial_outputs(tmp_path, 1) == ()


def test_a_disk_that_takes_no_samples_does_not_end_the_search(tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("in the way")
    write_trial_outputs(tmp_path, 1, SAMPLES)
    assert read_trial_outputs(tmp_path, 1) == ()


def test_the_study_hands_samples_to_their_file(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> None:
    experiment = load()
    study = Study.open(experiment, {"test": "yes"})
    text = from_plain(Evaluation, to_plain(replace(evaluation(), outputs=SAMPLES)))
    assert text.outputs == SAMPLES, "they travel from the worker as JSON"
    first = study.tell(study.ask(experiment.baseline), text)
    second = study.tell(
        study.ask(Configuration({**experiment.baseline, "threads": 2})), evaluation()
    )
    assert first.evaluation is not None
    assert first.evaluation.outputs == ()
    assert b"out \\u2713" not in (experiment.results / STUDY_FILE).read_bytes()
    assert outputs_of(experiment, [first, second]) == {0: SAMPLES}


def test_an_evaluation_from_before_samples_can_be_read(
    evaluation: Callable[..., Evaluation], trial: Callable[..., Trial]
) -> None:
    fields = json.loads(json.dumps(to_plain(evaluation())))
    del fields["outputs"]
    assert from_plain(Evaluation, fields).outputs == ()
