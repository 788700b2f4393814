"""The sentence that compares a trial with the baseline: speed, memory and quality, with intervals.

Values that are not confirmed are marked in the sentence itself, so that every output that shows it
shows the warnings, too.
"""

from collections.abc import Sequence
from dataclasses import replace

from tunefront.evaluators import Measurement, Metric
from tunefront.evaluators.statistics.formatting import (
    PERCENT_DECIMALS,
    SAME,
    multiple_ends,
    multiple_text,
    spread_text,
    value_text,
)
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.trial import Trial

from .change import against

SAME_QUALITY_PERCENT = 0.05
"""A change of quality, and half of its interval, below this is reported as the same quality."""
SPEED_WORDS = ("faster", "slower", "the same speed")
MEMORY = ("less memory", "more memory", "the same memory")
"""Words for a ratio above 1, below 1 and of about 1."""
EQUAL_SETTINGS = "at the same batch size and threads"


def speedup_of(
    trial: Trial, baseline: Trial, experiment: Experiment, confirmation: Confirmation
) -> Measurement | None:
    """Return rate / baseline rate, confirmed if possible; None if unknown."""
    confirmed = confirmation.speedup(trial.number)
    return confirmed or _ratio(trial, baseline, experiment.rate, experiment.primary)


def memory_saving_of(trial: Trial, baseline: Trial, experiment: Experiment) -> Measurement | None:
    """Return baseline peak memory / peak memory; None if unknown."""
    found = _ratio(trial, baseline, experiment.size, experiment.primary)
    if found is None:
        return None
    low, high = 1 / found.high, 1 / found.low if found.low > 0 else float("inf")
    return replace(found, value=1 / found.value, low=low, high=high)


def _ratio(
    trial: Trial, baseline: Trial, metric: Metric | None, primary: Metric
) -> Measurement | None:
    if metric is None or not all(metric.name in t.measurements for t in (trial, baseline)):
        return None
    return against(trial, baseline, metric, primary)


def failure_sentence(trial: Trial) -> str:
    """Return the failure of a trial with its stage, its cause and the first line of its message."""
    evaluation = trial.evaluation
    if evaluation is None or evaluation.status != "failed":
        return trial.status
    message = evaluation.message.splitlines()[0] if evaluation.message else ""
    return f"failed at {evaluation.stage} ({trial.cause}): {message}"


def comparison_sentence(
    trial: Trial,
    speedup: Measurement | None,
    same_execution: Measurement | None,
    saving: Measurement | None,
    warnings: Sequence[str],
    level: str = "",
) -> str:
    """Return a text such as `about 4.1x faster (2.4 to 5.9; unconfirmed: ...), 2.1x less memory`.

    Args:
        trial: The trial.
        speedup: Its rate relative to the baseline's; None if unknown.
        same_execution: Its rate relative to that of the baseline's model at the same execution
            settings; None if unknown.
        saving: Baseline memory / its memory; None if unknown.
        warnings: The warnings because of which its values are not confirmed; empty if they are.
        level: The load level of the speed-up, if there are several.
    """
    notes = [f"at load {level}"] if level else []
    if same_execution is not None:
        notes.append(f"{multiple_text(same_execution.value, *SPEED_WORDS)} {EQUAL_SETTINGS}")
    if warnings and speedup is not None:
        notes.append(_unconfirmed(warnings))
    speed = "" if speedup is None else _with_notes(speedup, SPEED_WORDS, notes)
    if speed and warnings:
        speed = f"about {speed}"
    memory = "" if saving is None else _with_notes(saving, MEMORY, ())
    text = ", ".join(part for part in (speed, memory, _quality(trial)) if part)
    return text if speed else marked(text, warnings)


def marked(text: str, warnings: Sequence[str]) -> str:
    """Return a text with the warnings because of which its values are not confirmed, if any."""
    return f"{text} ({_unconfirmed(warnings)})".lstrip() if warnings else text


def _unconfirmed(warnings: Sequence[str]) -> str:
    return f"unconfirmed: {', '.join(warnings)}"


def _with_notes(ratio: Measurement, words: tuple[str, str, str], notes: Sequence[str]) -> str:
    """Return the multiple, and in parentheses its interval and the notes."""
    within = ratio.low > 1 / SAME and ratio.high < SAME
    ends = "" if within else multiple_ends(ratio)
    inside = "; ".join(filter(None, [ends, *notes]))
    text = multiple_text(ratio.value, *words)
    return f"{text} ({inside})" if inside else text


def _quality(trial: Trial) -> str:
    drop = trial.measurements.get(QUALITY_DROP.name)
    if drop is None:
        return ""
    half = (drop.high - drop.low) / 2
    if abs(drop.value) < SAME_QUALITY_PERCENT and half < SAME_QUALITY_PERCENT:
        return "the same quality"
    gain = value_text(replace(drop, value=-drop.value), sign=True)
    text = f"quality {gain} %{spread_text(drop.value, half, decimals=PERCENT_DECIMALS)}"
    evaluated, items = evaluated_items(trial)
    return f"{text} on {evaluated} of {items} items" if evaluated < items else text


def evaluated_items(trial: Trial) -> tuple[int, int]:
    """Return the number of items a trial was evaluated on, and of all; less if stopped early."""
    facts = trial.evaluation.facts if trial.evaluation is not None else {}
    return int(facts.get("evaluated_items", 0)), int(facts.get("items", 0))
