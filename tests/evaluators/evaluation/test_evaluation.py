"""The result of an evaluation: whatever its texts contain, it can be recorded and shown."""

import json
from dataclasses import replace

from tunefront.evaluators import Evaluation, Measurement, Sample
from tunefront.evaluators.evaluation.clean_text import LONGEST_FAILURE, LONGEST_LINE
from tunefront.evaluators.evaluation.evaluation import MOST_LINES, InterimResult
from tunefront.evaluators.isolation.codec import from_plain, to_plain

BAD = "\x1b[31mbad\x1b[0m \udcff\x07"
CLEAN = r"bad \udcff\x07"


def full() -> Evaluation:
    """An evaluation with such a text in every place."""
    return Evaluation(
        status="failed",
        cause="exception",
        measurements={BAD: Measurement.exact(1.0, "")},
        outputs=(Sample(item=0, input=BAD, output=BAD, expected=BAD, score_name=BAD),),
        interim=InterimResult(speed=None, reason=BAD),
        facts={"names": [BAD]},
        warnings=(BAD,),
        curves={BAD: ((1, 2.0),)},
        message=BAD,
        log=(BAD,),
    )


def test_every_text_is_cleaned_when_an_evaluation_is_made() -> None:
    evaluation = full()
    assert (evaluation.message, evaluation.log, evaluation.warnings) == (CLEAN, (CLEAN,), (CLEAN,))
    assert evaluation.facts == {"names": [CLEAN]}
    assert list(evaluation.measurements) == list(evaluation.curves) == [CLEAN]
    assert evaluation.interim is not None and evaluation.interim.reason == CLEAN
    assert evaluation.outputs == (
        Sample(item=0, input=CLEAN, output=CLEAN, expected=CLEAN, score_name=CLEAN),
    )
    json.dumps(to_plain(evaluation), ensure_ascii=False).encode()


def test_texts_of_records_and_copies_are_cleaned_too() -> None:
    plain = {"status": "failed", "cause": "exception", "message": BAD, "log": [BAD]}
    assert from_plain(Evaluation, plain).message == CLEAN
    assert replace(Evaluation(status="ok"), message=BAD).message == CLEAN
    assert from_plain(Evaluation, to_plain(full())) == full()


def test_messages_and_logs_are_of_bounded_size() -> None:
    large = "x" * 1_000_000
    evaluation = Evaluation(status="failed", message=large, log=(*[large] * 200, "the last line"))
    assert len(evaluation.message) <= LONGEST_FAILURE
    assert len(evaluation.log) == MOST_LINES
    assert max(map(len, evaluation.log)) <= LONGEST_LINE
    assert evaluation.log[-1] == "the last line"
    assert len(json.dumps(to_plain(evaluation))) < 200_000
