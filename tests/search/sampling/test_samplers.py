"""What every sampler must keep: only what can run, none twice, the whole list, the same again."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment, Trial
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.sampling import optuna_samplers as optuna_based
from tunefront.search.sampling.base import Sampler
from tunefront.search.sampling.grid import GridSampler
from tunefront.search.sampling.optuna_samplers import OPTUNA_SAMPLERS
from tunefront.search.study.trial import candidate_of
from tunefront.spaces import Configuration

TrialOf = Callable[..., Trial]
SEEDED = ("ehvi", *OPTUNA_SAMPLERS)
NAMES = ("grid", *SEEDED)

FILE = """\
name: samplers
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  pruning_ratio: [0.0, 0.5]
  pruning_method: [ffn-channels, layers]
  runtime: [torch, onnxruntime]
  precision: [fp32, bf16]
  threads: [1, 2, 16]
baseline: {threads: 4}
objectives: {throughput: maximize, peak_memory_mb: minimize}
limits: {quality_drop: "<= 5%"}
"""
WIDE = """\
name: wide
workload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}
space:
  batch_size: [1, 2, 4, 8]
  threads: [1, 2, 4, 8]
  precision: [fp32, bf16]
  quantization_bits: [16, 8, 4]
  quantization_method: [dynamic, rtn]
objectives: {throughput: maximize, peak_memory_mb: minimize}
limits: {quality_drop: "<= 5%"}
"""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread and few rejections: a proposal of a Gaussian process takes tenths of a second."""
    if "[gp" not in request.node.name:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(optuna_based, "MOST_REJECTIONS", 2)
    yield
    torch.set_num_threads(threads)


@dataclass(kw_only=True)
class MadeUpSearch:
    """A search without its evaluations: the sampler proposes, and results are made up."""

    experiment: Experiment
    runnable: Sequence[Configuration]
    end: Callable[[int, Configuration], Trial]

    def sampler(self) -> Sampler:
        return build_sampler(self.experiment, self.runnable)

    def walk(
        self, sampler: Sampler, history: Sequence[Trial] = (), steps: int = 10_000
    ) -> list[Trial]:
        """The trials after `steps` proposals more, or after all of them."""
        trials = list(history)
        for _ in range(min(steps, 2 * len(self.runnable))):
            proposed = sampler.propose(trials)
            if proposed is None:
                break
            trials.append(self.end(len(trials), proposed.configuration))
        return trials


@pytest.fixture(scope="module")
def made_up(load: Callable[..., Experiment], trial: TrialOf) -> Callable[..., MadeUpSearch]:
    """Every fourth trial fails, every fifth breaks a limit, the others end well."""

    def end(number: int, configuration: Configuration) -> Trial:
        if number % 4 == 3:
            return trial(number, configuration, "failed")
        lost = 9.0 if number % 5 == 4 else 0.0
        threads, ratio = configuration["threads"], configuration["pruning_ratio"]
        figures = {
            "throughput": float(threads),
            "peak_memory_mb": 500.0 - 100 * float(ratio),
            "quality_drop": lost,
        }
        return trial(number, configuration, "infeasible" if lost else "ok", **figures)

    def make(name: str, seed: int = 0) -> MadeUpSearch:
        experiment = replace(load(f"sampler={name}", f"seed={seed}", text=FILE), references=())
        runnable = experiment.space.enumerate().runnable
        return MadeUpSearch(experiment=experiment, runnable=runnable, end=end)

    return make


def configurations(trials: Sequence[Trial]) -> list[Configuration]:
    return [trial.configuration for trial in trials]


def test_the_space_of_these_tests_has_conditions_and_excluded_configurations(
    made_up: Callable[..., MadeUpSearch],
) -> None:
    found = made_up("grid").experiment.space.enumerate()
    assert len(found.runnable) == 18
    assert found.dropped
    assert len({len(configuration) for configuration in found.runnable}) == 2


@pytest.mark.parametrize("name", NAMES)
def test_every_runnable_configuration_is_proposed_once(
    made_up: Callable[..., MadeUpSearch], name: str
) -> None:
    search = made_up(name)
    sampler = search.sampler()
    trials = search.walk(sampler)
    assert len(trials) == len(search.runnable)
    assert set(configurations(trials)) == set(search.runnable)
    assert sampler.propose(trials) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_proposes_the_same(made_up: Callable[..., MadeUpSearch], name: str) -> None:
    one, other = made_up(name), made_up(name)
    assert configurations(one.walk(one.sampler(), steps=14)) == configurations(
        other.walk(other.sampler(), steps=14)
    )


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_proposes_another_order(
    made_up: Callable[..., MadeUpSearch], name: str
) -> None:
    one, other = made_up(name), made_up(name, seed=1)
    assert configurations(one.walk(one.sampler(), steps=14)) != configurations(
        other.walk(other.sampler(), steps=14)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_search_repeats_nothing_and_leaves_nothing_out(
    made_up: Callable[..., MadeUpSearch], name: str
) -> None:
    search = made_up(name)
    before = search.walk(search.sampler(), steps=9)
    trials = search.walk(search.sampler(), before)
    assert trials[:9] == before
    assert len(trials) == len(search.runnable)
    assert set(configurations(trials)) == set(search.runnable)


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_can_be_outside_the_list(
    made_up: Callable[..., MadeUpSearch], name: str
) -> None:
    search = made_up(name)
    baseline = search.end(0, search.experiment.baseline)
    found = configurations(search.walk(search.sampler(), [baseline], steps=12))
    assert baseline.configuration not in search.runnable
    assert set(found[1:]) <= set(search.runnable)
    assert len(set(found)) == 13


@pytest.mark.parametrize("name", NAMES)
def test_running_trials_are_not_proposed_again(
    made_up: Callable[..., MadeUpSearch], trial: TrialOf, name: str
) -> None:
    search = made_up(name)
    sampler = search.sampler()
    trials: list[Trial] = []
    for _ in search.runnable:
        proposed = sampler.propose(trials)
        assert proposed is not None
        trials.append(trial(len(trials), proposed.configuration, "running"))
    assert set(configurations(trials)) == set(search.runnable)
    ended = [search.end(t.number, t.configuration) for t in trials]
    assert sampler.propose(ended) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", ["failed", "running"])
def test_a_record_can_be_without_measurements(
    made_up: Callable[..., MadeUpSearch], trial: TrialOf, name: str, status: str
) -> None:
    search = made_up(name)
    history = [trial(i, configuration, status) for i, configuration in enumerate(search.runnable)]
    assert search.sampler().propose(history) is None
    last = search.sampler().propose(history[:-1])
    assert last is not None
    assert last.configuration == search.runnable[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_can_have_several_trials(
    made_up: Callable[..., MadeUpSearch], trial: TrialOf, name: str
) -> None:
    search = made_up(name)
    sampler = search.sampler()
    proposed = sampler.propose([])
    assert proposed is not None
    first = proposed.configuration
    history = [trial(0, first, "failed"), search.end(1, first), search.end(2, first)]
    found = configurations(search.walk(sampler, history, steps=10)[3:])
    assert first not in found
    assert len(set(found)) == 10


@pytest.mark.parametrize("name", NAMES)
def test_without_runnable_configurations_nothing_is_proposed(
    made_up: Callable[..., MadeUpSearch], name: str
) -> None:
    assert build_sampler(made_up(name).experiment, ()).propose([]) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_check_tries_every_runtime_once(
    load: Callable[..., Experiment], trial: TrialOf, name: str
) -> None:
    experiment = load(f"sampler={name}", text=FILE, smoke=True)
    runnable = experiment.space.enumerate().runnable
    sampler = build_sampler(experiment, runnable)
    first = sampler.propose([])
    assert first is not None
    one = trial(0, first.configuration)
    second = sampler.propose([one])
    assert second is not None
    two = trial(1, second.configuration)
    assert {t.configuration["runtime"] for t in (one, two)} == {"torch", "onnxruntime"}
    assert sampler.propose([one, two]) is None


def test_the_grid_goes_through_the_list_in_order(made_up: Callable[..., MadeUpSearch]) -> None:
    search = made_up("grid")
    assert isinstance(search.sampler(), GridSampler)
    assert configurations(search.walk(search.sampler())) == list(search.runnable)


@pytest.fixture(scope="module")
def wide(load: Callable[..., Experiment], trial: TrialOf) -> Callable[..., MadeUpSearch]:
    """128 configurations; batches of 8 are best at everything, 8 threads break the limit."""

    def end(number: int, configuration: Configuration) -> Trial:
        batch, threads = float(configuration["batch_size"]), configuration["threads"]
        figures = {
            "throughput": 100.0 * batch,
            "peak_memory_mb": 2000.0 - 100.0 * batch,
            "quality_drop": 9.0 if threads == 8 else 0.0,
        }
        return trial(number, configuration, "infeasible" if threads == 8 else "ok", **figures)

    def make(name: str, seed: int) -> MadeUpSearch:
        experiment = replace(load(f"sampler={name}", f"seed={seed}", text=WIDE), references=())
        runnable = experiment.space.enumerate().runnable
        return MadeUpSearch(experiment=experiment, runnable=runnable, end=end)

    return make


def shares(trials: Sequence[Trial]) -> tuple[float, float]:
    """How many of the trials have the best batch size, and how many break the limit."""
    best = [trial.configuration["batch_size"] == 8 for trial in trials]
    beyond = [trial.status == "infeasible" for trial in trials]
    return float(np.mean(best)), float(np.mean(beyond))


@pytest.mark.parametrize(
    ("name", "before", "after", "seeds"),
    [
        ("ehvi", 12, 8, 4),
        *(
            pytest.param(*one, marks=pytest.mark.soak)
            for one in (("tpe", 32, 16, 4), ("nsga2", 32, 16, 12), ("gp", 12, 6, 2))
        ),
    ],
)
def test_good_trials_lead_to_similar_proposals(
    wide: Callable[..., MadeUpSearch], name: str, before: int, after: int, seeds: int
) -> None:
    """Chance finds 25 % and passes in 1 of 100 seeds; these samplers find 42 to 100 %."""
    late: list[Trial] = []
    for seed in range(seeds):
        search = wide(name, seed)
        late += search.walk(search.sampler(), steps=before + after)[before:]
    best, _ = shares(late)
    assert best >= 0.35


@pytest.mark.parametrize("name", ["ehvi", "tpe", "nsga2"])
def test_a_trial_seen_running_is_learnt_from_when_it_ends(
    wide: Callable[..., MadeUpSearch], trial: TrialOf, name: str
) -> None:
    """Of two searches that differ in what ended well, the proposals afterwards differ."""
    found: list[list[Configuration]] = []
    for sign in (1, -1):
        search = wide(name, 0)
        sampler = search.sampler()
        trials: list[Trial] = []
        for number in range(24):
            proposed = sampler.propose(trials)
            assert proposed is not None
            trials.append(trial(number, proposed.configuration, "running"))
        figures = [sign * float(t.configuration["batch_size"]) for t in trials]
        ended = [
            trial(t.number, t.configuration, throughput=f, peak_memory_mb=-f, quality_drop=0.0)
            for t, f in zip(trials, figures, strict=True)
        ]
        found.append(configurations(search.walk(sampler, ended, steps=8)))
    one, other = found
    assert one[:24] == other[:24]
    assert one[24:] != other[24:]


@pytest.mark.parametrize(
    ("name", "before", "after", "seeds"),
    [
        ("ehvi", 16, 8, 3),
        pytest.param("tpe", 32, 12, 3, marks=pytest.mark.soak),
        pytest.param("gp", 16, 6, 2, marks=pytest.mark.soak),
    ],
)
def test_an_earlier_record_is_learnt_from(
    wide: Callable[..., MadeUpSearch], name: str, before: int, after: int, seeds: int
) -> None:
    """Chance finds 25 % of each and passes in 1 of 1000 seeds."""
    late: list[Trial] = []
    for seed in range(seeds):
        search = wide(name, seed)
        order = np.random.default_rng(seed).permutation(len(search.runnable))[:before]
        history = [search.end(n, search.runnable[i]) for n, i in enumerate(order)]
        late += search.walk(search.sampler(), history, steps=after)[before:]
    best, beyond = shares(late)
    assert best >= 0.4
    assert beyond <= 0.1


def test_configurations_of_built_candidates_are_proposed_sooner(
    load: Callable[..., Experiment], wide: Callable[..., MadeUpSearch]
) -> None:
    """40 candidates of 16 configurations each; a trial that builds takes as long, or 100 times."""
    text = WIDE.replace("space:\n", "space:\n  pruning_ratio: [0.0, 0.1, 0.2, 0.3, 0.4]\n")
    experiment = load("sampler=ehvi", text=text)
    search = replace(
        wide("ehvi", 0), experiment=experiment, runnable=experiment.space.enumerate().runnable
    )
    catalog = experiment.space.catalog
    built: list[float] = []
    reason = ""
    for build_s in (1.0, 100.0):
        sampler = search.sampler()
        trials: list[Trial] = []
        for _ in range(24):
            proposal = sampler.propose(trials)
            assert proposal is not None
            proposed, reason = proposal.configuration, proposal.reason
            reused = candidate_of(proposed, catalog) in {trial.candidate for trial in trials}
            evaluation = Evaluation(
                status="ok",
                seconds={"total": 1.0 if reused else build_s},
                reused=("candidate",) if reused else (),
            )
            ended = search.end(len(trials), proposed)
            trials.append(replace(ended, evaluation=evaluation))
        late = [bool(t.evaluation and t.evaluation.reused) for t in trials[12:]]
        built.append(float(np.mean(late)))
    assert built[0] <= 0.4
    assert built[1] >= built[0] + 0.25
    assert re.search("takes about 1(00)? s", reason)


@pytest.mark.parametrize("name", NAMES)
def test_every_proposal_has_a_reason(made_up: Callable[..., MadeUpSearch], name: str) -> None:
    search = made_up(name)
    sampler = search.sampler()
    proposal = sampler.propose(search.walk(sampler, steps=3))
    assert proposal is not None
    assert proposal.reason
    assert proposal.expected_gain is None  # three trials are too few for a prediction
    assert proposal.gain_of(100) is None


def test_the_reason_states_gain_metrics_and_probabilities(
    made_up: Callable[..., MadeUpSearch],
) -> None:
    search = made_up("ehvi")
    sampler = search.sampler()
    trials = search.walk(sampler, steps=12)
    proposed = sampler.propose(trials)
    assert proposed is not None
    found = re.fullmatch(
        r"expected to add ([\d.]+) % to the front, throughput ([\d.]+) ± (\d+ %|[\d.]+), "
        r"peak_memory_mb ([\d.]+) ± \S+, keeps the limits at (\d+) %, runs at (\d+) %",
        proposed.reason,
    )
    assert found, proposed.reason
    assert 400 <= float(found[4]) <= 500  # what trials of these tests take
    gain = proposed.expected_gain
    assert gain is not None
    assert gain >= 0
    hour = proposed.gain_of(100)
    assert hour is not None and hour >= gain
    assert 0 < int(found[6]) <= 100
