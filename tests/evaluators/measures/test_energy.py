"""Energy counters as the kernel shows them, in a folder of our own."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import Protocol, builtin_catalog
from tunefront.evaluators.benchmark.messages import block_call
from tunefront.evaluators.interfaces.builtin import RequestSet
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint, Tensors
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.measures import energy, gpu
from tunefront.evaluators.measures.energy import (
    GPU_BLOCK_S,
    Energy,
    EnergyMeter,
    energy_is_counted,
    energy_of,
)
from tunefront.evaluators.measures.gpu import Gpus
from tunefront.evaluators.pipelines.tasks import measure
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import Configuration, detect_hardware

RANGE_UJ = 262_143_328_850


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages alone, on machines with GPUs too, and no other processes."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(energy, "busy_seconds", lambda: 0.0)


def zone(folder: Path, name: str, microjoules: int | str) -> Path:
    """A zone with its counter."""
    made = folder / name
    made.mkdir(exist_ok=True)
    (made / "energy_uj").write_text(f"{microjoules}\n")
    (made / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return made


def test_packages_add_up_and_their_parts_do_not(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 3_000_000)
    zone(tmp_path, "intel-rapl:0:0", 2_000_000)
    zone(tmp_path, "intel-rapl:1", 5_000_000)
    (tmp_path / "intel-rapl").mkdir()
    zone(tmp_path, "dtpm:0", 99)
    meter = EnergyMeter(tmp_path)
    assert meter.available
    assert meter.joules() == pytest.approx(8.0)


def test_the_difference_of_two_looks_is_what_was_spent(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 3_000_000)
    meter = EnergyMeter(tmp_path)
    before = meter.joules()
    zone(tmp_path, "intel-rapl:0", 4_250_000)
    after = meter.joules()
    assert before is not None and after is not None
    assert after - before == pytest.approx(1.25)


def test_counters_that_wrapped_are_unrolled_as_often_as_they_wrap(tmp_path: Path) -> None:
    steps = [RANGE_UJ - 1_000_000, 500_000, RANGE_UJ - 2_000_000, 1_000_000, 2_000_000]
    zone(tmp_path, "intel-rapl:0", steps[0])
    zone(tmp_path, "intel-rapl:1", 7_000_000)
    meter = EnergyMeter(tmp_path)
    start, true, found = meter.joules(), [0.0], [0.0]
    assert start is not None
    for before, now in zip(steps, steps[1:], strict=False):
        zone(tmp_path, "intel-rapl:0", now)
        spent = now - before if now >= before else now + RANGE_UJ - before
        true.append(true[-1] + spent / 1e6)
        joules = meter.joules()
        assert joules is not None
        found.append(joules - start)
    assert found == pytest.approx(true)


def test_zones_that_can_not_be_read_are_left_out(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 3_000_000)
    zone(tmp_path, "intel-rapl:1", "no number")
    (tmp_path / "intel-rapl:2" / "energy_uj").mkdir(parents=True)
    (tmp_path / "intel-rapl:3").mkdir()
    assert EnergyMeter(tmp_path).joules() == pytest.approx(3.0)


def test_amd_s_zones_are_found_too(tmp_path: Path) -> None:
    zone(tmp_path, "amd-rapl:0", 2_000_000)
    assert EnergyMeter(tmp_path).joules() == pytest.approx(2.0)


@pytest.mark.parametrize("there", [True, False])
def test_where_nothing_can_be_read_there_is_no_energy(tmp_path: Path, there: bool) -> None:
    folder = tmp_path if there else tmp_path / "missing"
    meter = EnergyMeter(folder)
    assert not meter.available
    assert meter.joules() is None


def test_gpus_add_to_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gpus, "joules", lambda self: 4.0)
    assert EnergyMeter(tmp_path).joules() == pytest.approx(4.0)
    zone(tmp_path, "intel-rapl:0", 3_000_000)
    assert EnergyMeter(tmp_path).joules() == pytest.approx(7.0)


def test_energy_is_counted_where_a_meter_finds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    for name in ("none", "some"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(energy.EnergyMeter.__init__, "__defaults__", (tmp_path / name,))
        zone(tmp_path / "some", "intel-rapl:0", 1) if name == "some" else None
        found.append(energy_is_counted())
    assert found == [False, True]


def test_energy_is_the_total_an_item_with_the_range_of_the_turns() -> None:
    found = energy_of([4.0, 6.0], [4, 3])
    assert found.value == pytest.approx(10 / 7)
    assert found.unit == "J"
    assert (found.low, found.high, found.samples) == (1.0, 2.0, 2)


def test_the_energy_of_untimed_requests_is_shared_among_all_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request takes 2 J for its 4 items; of each replica's 7 requests 6 are timed."""
    monkeypatch.setattr(energy.EnergyMeter.__init__, "__defaults__", (tmp_path,))
    zone(tmp_path, "intel-rapl:0", 0)
    block = Block(request_s=np.ones((3, 2)), cpu_s=6.0, wait_s=0.0, untimed=1)
    reading, turn, joules = Energy().start([], []), [block, block], 0
    for idle in (100, 50):
        joules += idle  # used in another candidate's turn
        zone(tmp_path, "intel-rapl:0", joules * 1_000_000)
        reading.before_block()
        joules += 2 * 7 * 2
        zone(tmp_path, "intel-rapl:0", joules * 1_000_000)
        reading.after_block(turn)
    found = reading.measurements(Timing(blocks=(turn, turn), items=8))["energy_per_item"]
    assert (found.value, found.low, found.high, found.samples) == (0.5, 0.5, 0.5, 2)


class Machine(TensorEndpoint):
    """A made-up machine of 10 W: it takes 50 ms for an item, and spins 0.2 s after its work."""

    def __init__(self) -> None:
        self.now_s = 0.0

    counts_packages = True

    def joules(self) -> float:
        return 10.0 * self.now_s

    def gpu_joules(self) -> None:
        """It has no GPU."""

    def call(self, inputs: Inputs) -> Sequence[Array]:
        self.now_s += 0.05 * len(inputs["x"])
        return []

    def facts(self) -> dict[str, str]:
        return {}

    def start(self) -> None:
        """The clock of the block; it does not matter here."""

    def stop(self) -> tuple[float, float]:
        return 1.0, 0.0

    def settle(self) -> None:
        self.now_s += 0.2


@pytest.mark.parametrize("sizes", [[4, 4], [4, 2], [1, 1, 1, 4]])
def test_energy_covers_the_items_that_it_is_divided_by(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    """The counter also counts while the process settles, and before each turn."""
    machine = Machine()
    monkeypatch.setattr(measure, "ProcessWatch", lambda processes: machine)
    monkeypatch.setattr(energy, "EnergyMeter", lambda **_: machine)
    requests = [{"x": np.zeros((size, 1))} for size in sizes]
    made = RequestSet(interface=Tensors(), load=Load(), requests=requests)
    reading = Energy().start([], [])
    replies: list[Any] = []

    def calls() -> Any:
        for turn in range(3):
            machine.now_s += 3.0  # another candidate's turn
            reading.before_block()
            yield block_call(turn, "")
            blocks.append(replies[-1])
            reading.after_block([from_plain(Block, replies[-1])])
            yield "settle"
            assert replies[-1] == {}
        yield "end"

    blocks: list[Any] = []
    client: Any = SimpleNamespace(send_reply=replies.append)
    request: Any = SimpleNamespace(protocol=Protocol(block_s=0.0), inside=())
    measure._take_turns(client, calls(), machine, {"": made}, request)
    timing = Timing(blocks=[[from_plain(Block, one)] for one in blocks], items=sum(sizes))
    found = reading.measurements(timing)["energy_per_item"]
    assert found.value == pytest.approx(0.5)
    assert [found.low, found.high] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("others_s", "warned", "low"), [(0.0, (), 1.0), (0.1, (), 1.0), (0.5, ("33 %",), 2 / 3)]
)
def test_energy_of_other_processes_is_a_doubt(
    monkeypatch: pytest.MonkeyPatch, others_s: float, warned: tuple[str, ...], low: float
) -> None:
    """Two turns of 0.5 s each, in which the candidate uses a core and others some of another."""
    own_s, busy_s, joules = 0.0, 0.0, 0.0
    meter = SimpleNamespace(joules=lambda: joules, gpu_joules=lambda: None, counts_packages=True)
    monkeypatch.setattr(energy, "EnergyMeter", lambda **_: meter)
    monkeypatch.setattr(energy, "busy_seconds", lambda: busy_s)
    monkeypatch.setattr(energy, "cpu_seconds", lambda pid: own_s)
    monkeypatch.setattr(energy, "with_descendants", lambda pid: [pid])
    reading = Energy().start([1], [])
    reading.watch([2])
    block = Block(request_s=np.ones((1, 1)), cpu_s=0.5, wait_s=0.0)
    for _ in range(2):
        busy_s += 100.0  # before the turn
        reading.before_block()
        own_s, busy_s, joules = own_s + 0.5, busy_s + 0.5 + others_s / 2, joules + 1.0
        reading.after_block([block])
    found = reading.measurements(Timing(blocks=[[block]] * 2, items=1))["energy_per_item"]
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(low)
    assert reading.warnings() == tuple(
        f"energy_per_item contains other processes: {share} of the CPU time" for share in warned
    )


CATALOG = builtin_catalog()
ON_GPU = CATALOG.complete({"device": "cuda"})
ON_CPU = CATALOG.complete({})


def test_blocks_on_a_gpu_are_long_enough_for_its_counter() -> None:
    assert Energy().block_s(ON_GPU) == GPU_BLOCK_S == 5.0
    assert Energy().block_s(ON_CPU) == 0.0


@pytest.mark.parametrize(
    ("packages", "configuration", "obstacle"),
    [
        (True, ON_CPU, None),
        (True, ON_GPU, None),
        (False, ON_GPU, None),
        (False, None, None),
        (False, ON_CPU, "no CPU package has an energy counter that this user may read (RAPL)"),
    ],
)
def test_a_gpu_s_counter_measures_no_candidate_on_the_processor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packages: bool,
    configuration: Configuration | None,
    obstacle: str | None,
) -> None:
    FakeNvml([FakeGpu()]).install(monkeypatch)
    monkeypatch.setattr(energy.EnergyMeter.__init__, "__defaults__", (tmp_path,))
    if packages:
        zone(tmp_path, "intel-rapl:0", 1)
    assert Energy().obstacle(detect_hardware(), configuration) == obstacle


@pytest.mark.parametrize(("others_s", "value"), [(0.0, 60.0), (5.0, 50.0)])
def test_own_gpus_count_and_packages_only_as_long_as_others_use_them_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others_s: float, value: float
) -> None:
    """A block of 5 s takes 500 J on the own GPU, 1,000 J on that of others, 100 J elsewhere."""
    own, other = FakeGpu(uuid="GPU-own"), FakeGpu(uuid="GPU-other")
    FakeNvml([own, other]).install(monkeypatch)
    monkeypatch.setattr(gpu, "started_with", lambda pid, name: "GPU-own")
    monkeypatch.setattr(energy.EnergyMeter.__init__, "__defaults__", (tmp_path,))
    zone(tmp_path, "intel-rapl:0", 0)
    own_s, busy_s = 0.0, 0.0
    monkeypatch.setattr(energy, "busy_seconds", lambda: busy_s)
    monkeypatch.setattr(energy, "cpu_seconds", lambda pid: own_s)
    monkeypatch.setattr(energy, "with_descendants", lambda pid: [pid])
    reading = Energy().start([1], [])
    block = Block(request_s=np.ones((5, 1)), cpu_s=5.0, wait_s=0.0, untimed=0)
    for number in (1, 2):
        reading.before_block()
        own_s, busy_s = own_s + 5.0, busy_s + 5.0 + others_s
        own.energy_mj += 500_000
        other.energy_mj += 1_000_000
        zone(tmp_path, "intel-rapl:0", number * 100_000_000)
        reading.after_block([block])
    found = reading.measurements(Timing(blocks=[[block]] * 2, items=2))["energy_per_item"]
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((value, value))
    told = ("energy_per_item is that of the GPUs: other processes used 50 % of the CPU time",)
    assert tuple(reading.warnings()) == (told if others_s else ())


def test_a_candidate_on_the_processor_has_no_gpu_s_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeGpu()
    FakeNvml([device]).install(monkeypatch)
    monkeypatch.setattr(gpu, "started_with", lambda pid, name: "")
    monkeypatch.setattr(energy.EnergyMeter.__init__, "__defaults__", (tmp_path,))
    zone(tmp_path, "intel-rapl:0", 0)
    reading = Energy().start([1], [])
    reading.before_block()
    device.energy_mj += 9_000_000
    zone(tmp_path, "intel-rapl:0", 8_000_000)
    block = Block(request_s=np.ones((4, 1)), cpu_s=4.0, wait_s=0.0)
    reading.after_block([block])
    found = reading.measurements(Timing(blocks=[[block]], items=1))["energy_per_item"]
    assert found.value == pytest.approx(2.0)
