"""Suggestions: choices that could address what a profile shows, with the evidence of the record.

The rules are a table of conditions on the profile, each with a choice that could address it. A
choice is worth trying, without a guarantee of success; its effect is reported from recorded trials
only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tunefront.evaluators import Metric, Part, Profile
from tunefront.evaluators.statistics.formatting import multiple_text
from tunefront.search.results.sentence import SPEED_WORDS
from tunefront.search.study.trial import Trial
from tunefront.spaces import FP8, NOT_QUANTIZED, TF32, Configuration, SearchSpace, Value, show

BIG, MOST = 0.2, 0.4
"""Shares of the time above which a kind of work is worth addressing, and dominates."""
OVERHEAD = 0.3
"""Share of the time above which work bound by neither roofline peak is worth addressing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A profile with its configuration and machine.

    Attributes:
        profile: The profile.
        configuration: The profiled configuration; complete.
        cores: Number of cores of the machine.
        rate: Metric that speed-ups are ratios of; None if there is none.
    """

    profile: Profile
    configuration: Configuration
    cores: int
    rate: Metric | None

    def value(self, choice: str) -> Value:
        """Return the configuration's value of a choice."""
        return self.configuration[choice]

    def part(self, kind: str) -> Part | None:
        """Return the part of a kind of work; None if the profile has none."""
        return next((part for part in self.profile.by_kind() if part.name == kind), None)

    def share(self, *kinds: str) -> float:
        """Return the share of the time that the given kinds of work take together."""
        return sum(part.share for part in self.profile.by_kind() if part.name in kinds)

    def products(self, bound: str, least: float = BIG) -> bool:
        """Return whether matrix products take at least `least` of the time and have this bound.

        Args:
            bound: The roofline bound.
            least: Share of the time, 0 to 1.
        """
        found = self.part("matmul")
        return found is not None and found.share >= least and found.bound == bound

    def integers(self) -> bool:
        """Return whether matrix products use integers or fp8 already."""
        return self.quantized() and self.value("quantization_method") in ("static", "dynamic", FP8)

    def quantized(self) -> bool:
        """Return whether weights are quantized."""
        return int(self.value("quantization_bits")) < NOT_QUANTIZED

    def overhead(self) -> bool:
        """Return whether at least `OVERHEAD` of the time is bound by neither roofline peak."""
        return self.profile.bounds()["overhead"] >= OVERHEAD

    def unfused_attention(self) -> bool:
        """Return whether attention runs as separate matrix products."""
        return any(
            row.kind == "attention" and row.operator in ("aten::matmul", "aten::bmm", "MatMul")
            for row in self.profile.rows
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRule:
    """A condition on a profile, and a choice that could address it.

    Attributes:
        shows: The condition.
        choice: The name of a choice in the catalogue.
        values: Values that could help, the most likely first; larger numbers if empty.
        because: The reason as text.
        also: Values of other choices that this one needs to have an effect.
    """

    shows: Callable[[Situation], bool]
    choice: str
    values: tuple[Value, ...]
    because: str
    also: Mapping[str, Value] = field(default_factory=dict)


_COMPILED = ("inductor", "openvino", "onnxruntime")
ADVICE_RULES: tuple[AdviceRule, ...] = (
    AdviceRule(
        shows=lambda s: s.products("memory") and not s.quantized(),
        choice="quantization_bits",
        values=(8, 4),
        because="matrix products wait for memory: small weights are fewer bytes",
    ),
    AdviceRule(
        shows=lambda s: s.products("memory"),
        choice="batch_size",
        values=(),
        because="matrix products wait for memory: weights are read once for more items",
    ),
    AdviceRule(
        shows=lambda s: (
            s.products("compute") and s.value("precision") == "fp32" and s.value("device") == "cuda"
        ),
        choice="precision",
        values=(TF32,),
        because="matrix products in fp32 run without the GPU's matrix units, in TF32 with them",
    ),
    AdviceRule(
        shows=lambda s: (
            s.products("compute") and s.value("precision") in ("fp32", TF32) and not s.integers()
        ),
        choice="precision",
        values=("bf16", "fp16"),
        because="matrix products in fp32 are bound by arithmetic: half the bits are multiplied "
        "faster where the machine has units for it",
    ),
    AdviceRule(
        shows=lambda s: s.products("compute") and not s.integers(),
        choice="quantization_method",
        values=("static", "dynamic", FP8),
        also={"quantization_bits": 8},
        because="matrix products are bound by arithmetic: 8 bits are multiplied faster where the "
        "machine has units for it",
    ),
    AdviceRule(
        shows=lambda s: (
            s.products("compute")
            and s.value("device") == "cpu"
            and int(s.value("threads")) < s.cores
        ),
        choice="threads",
        values=(),
        because="matrix products are bound by arithmetic, and this machine has more cores",
    ),
    AdviceRule(
        shows=lambda s: s.products("compute", MOST) or s.products("memory", MOST),
        choice="pruning_ratio",
        values=(),
        because="matrix products at the machine's peak rule: smaller matrices are less work",
    ),
    AdviceRule(
        shows=lambda s: s.products("overhead"),
        choice="batch_size",
        values=(),
        because="matrix products stay far below the machine's peaks: larger ones come nearer",
    ),
    AdviceRule(
        shows=lambda s: s.products("overhead"),
        choice="runtime",
        values=("openvino", "onnxruntime", "inductor", "torch"),
        because="matrix products stay far below the machine's peaks: another runtime's may not",
    ),
    AdviceRule(
        shows=lambda s: (
            s.profile.bounds()["overhead"] >= OVERHEAD and s.value("runtime") == "torch"
        ),
        choice="runtime",
        values=_COMPILED,
        because="many operators do little each: a compiled or fused graph has fewer",
    ),
    AdviceRule(
        shows=lambda s: s.overhead(),
        choice="batch_size",
        values=(),
        because="the fixed cost of every operator is shared by more items",
    ),
    AdviceRule(
        shows=lambda s: (
            s.share("elementwise", "normalisation", "memory") >= OVERHEAD
            and s.value("runtime") == "torch"
        ),
        choice="runtime",
        values=_COMPILED,
        because="elementwise operators and copies read and write all they touch: fused ones do not",
    ),
    AdviceRule(
        shows=lambda s: (
            s.share("quantise") >= BIG / 2
            and s.quantized()
            and s.value("quantization_method") in ("dynamic", FP8)
        ),
        choice="quantization_method",
        values=("static", "rtn"),
        because="activations are quantized as they come: ranges calibrated before save that",
    ),
    AdviceRule(
        shows=lambda s: s.share("attention") >= OVERHEAD and s.unfused_attention(),
        choice="runtime",
        values=_COMPILED,
        because="attention rules and is made of single products: fused attention keeps its scores "
        "out of memory",
    ),
    AdviceRule(
        shows=lambda s: s.share("attention") >= OVERHEAD,
        choice="pruning_method",
        values=("heads",),
        because="attention rules: fewer heads are less of it (with a pruning_ratio above 0)",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The recorded evidence about a value of a choice.

    Attributes:
        trials: Number of measured trials with the value.
        failed: Number of failed trials with the value.
        pairs: Number of pairs of measured trials that differ in this choice only: one with the
            profiled value, one with this value.
        speedup: Median throughput ratio of the pairs; None without pairs.
        best: Number of the measured trial with the value that has the highest throughput, and its
            throughput / the profiled trial's; None if there is none.
    """

    trials: int
    failed: int
    pairs: int
    speedup: float | None
    best: tuple[int, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A value that could help.

    Attributes:
        value: The value.
        in_space: Whether the experiment's space contains it.
        obstacle: Why it can't run here with the trial's other choices; empty if it can.
        tried: The recorded evidence.
    """

    value: Value
    in_space: bool
    obstacle: str
    tried: Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A choice that could address what the profile shows.

    Attributes:
        choice: The name of the choice.
        now: The profiled value.
        reasons: The reasons as text.
        options: The values that could help.
    """

    choice: str
    now: Value
    reasons: tuple[str, ...]
    options: tuple[Option, ...]


def suggestions_for(
    situation: Situation, space: SearchSpace, trials: Sequence[Trial], number: int
) -> list[Suggestion]:
    """Apply the rules to a profile: one suggestion per choice, in the order of the rules.

    Args:
        situation: The profile with its configuration.
        space: The experiment's space.
        trials: All recorded trials.
        number: The number of the profiled trial.
    """
    reasons: dict[str, list[str]] = {}
    wanted: dict[str, dict[Value, Mapping[str, Value]]] = {}
    for rule in ADVICE_RULES:
        if rule.shows(situation):
            reasons.setdefault(rule.choice, []).append(rule.because)
            changes = wanted.setdefault(rule.choice, {})
            for value in _values(rule, situation, space):
                changes.setdefault(value, {**rule.also, rule.choice: value})
    return [
        Suggestion(
            choice=name,
            now=situation.value(name),
            reasons=tuple(reasons[name]),
            options=tuple(
                _option(situation, space, trials, number, value, change)
                for value, change in changes.items()
            ),
        )
        for name, changes in wanted.items()
        if changes
    ]


def _values(rule: AdviceRule, situation: Situation, space: SearchSpace) -> list[Value]:
    """Return a rule's values other than the profiled one, or larger values if it names none."""
    now = situation.value(rule.choice)
    if rule.values:
        needed = all(situation.value(name) == value for name, value in rule.also.items())
        return [value for value in rule.values if value != now or not needed]
    listed = _in_space(space, rule.choice)
    larger = [value for value in listed if float(value) > float(now)]
    return larger or [_next(space, rule.choice, now, situation.cores)]


def _next(space: SearchSpace, choice: str, now: Value, cores: int) -> Value:
    """Return a larger number if the space has none: twice the value, or pruning_ratio + 0.25.

    It is at most the number of cores for threads, and at most 0.95 for pruning_ratio.
    """
    kind = space.catalog.kind(choice)
    if choice == "pruning_ratio":
        return kind.check(min(0.95, float(now) + 0.25))
    doubled = 2 * int(now)
    return kind.check(min(doubled, cores) if choice == "threads" else doubled)


def _in_space(space: SearchSpace, choice: str) -> tuple[Value, ...]:
    return next((c.values for c in space.choices if c.name == choice), ())


def _option(
    situation: Situation,
    space: SearchSpace,
    trials: Sequence[Trial],
    number: int,
    value: Value,
    change: Mapping[str, Value],
) -> Option:
    changed = Configuration({**situation.configuration, **change})
    return Option(
        value=value,
        in_space=all(one in _in_space(space, name) for name, one in change.items()),
        obstacle=space.obstacle(changed) or "",
        tried=tried_of(trials, situation.rate, number, situation.configuration, change),
    )


def tried_of(
    trials: Sequence[Trial],
    rate: Metric | None,
    number: int,
    now: Configuration,
    change: Mapping[str, Value],
) -> Tried:
    """Collect the recorded evidence for a change of some choices.

    Args:
        trials: All recorded trials.
        rate: The metric to compare by; without one nothing is compared.
        number: The number of the profiled trial.
        now: The profiled configuration; complete.
        change: The new values by choice.
    """
    name = "" if rate is None else rate.name
    measured = [trial for trial in trials if trial.measured and name in trial.measurements]
    having = [trial for trial in measured if _has(trial, change)]
    same = {choice: now[choice] for choice in change}
    before = {_others(t, change): t for t in measured if _has(t, same)}
    ratios = [
        trial.value(name) / before[_others(trial, change)].value(name)
        for trial in having
        if _others(trial, change) in before
    ]
    own = next((trial.value(name) for trial in measured if trial.number == number), None)
    best = max(having, key=lambda trial: trial.value(name), default=None)
    failed = [t for t in trials if t.status == "failed" and _has(t, change)]
    return Tried(
        trials=len(having),
        failed=len(failed),
        pairs=len(ratios),
        speedup=median(ratios) if ratios else None,
        best=(best.number, best.value(name) / own) if best and own else None,
    )


def _has(trial: Trial, values: Mapping[str, Value]) -> bool:
    complete = trial.complete
    return all(complete[name] == value for name, value in values.items())


def _others(trial: Trial, choices: Iterable[str]) -> frozenset[tuple[str, Value]]:
    """Return the trial's other choices, also those that its space does not list."""
    left_out = set(choices)
    return frozenset((n, value) for n, value in trial.complete.items() if n not in left_out)


def option_text(option: Option) -> str:
    """Describe the recorded evidence about a value."""
    tried = option.tried
    parts = ["in this space" if option.in_space else "not in this space"]
    if option.obstacle:
        parts.append(f"not with this trial's other choices ({option.obstacle})")
    if tried.speedup is not None:
        pairs = "1 pair" if tried.pairs == 1 else f"{tried.pairs} pairs"
        parts.append(
            f"{multiple_text(tried.speedup, *SPEED_WORDS)}, median of {pairs} that differ in this"
        )
    elif tried.best is not None:
        number, ratio = tried.best
        parts.append(
            f"tried, but in no pair that differs in this alone; the fastest with it is "
            f"{number:03}, {multiple_text(ratio, *SPEED_WORDS)}, compared with this trial"
        )
    if tried.failed:
        parts.append(f"failed {tried.failed} of {tried.failed + tried.trials} times")
    elif not tried.trials:
        parts.append("never tried")
    return f"{show(option.value)}: {'; '.join(parts)}"
