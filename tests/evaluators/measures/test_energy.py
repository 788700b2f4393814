"""Energy counters as the kernel shows them, in a folder of our own."""

from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators.measures import energy
from tunefront.evaluators.measures.energy import (
    Energy,
    EnergyMeter,
    energy_is_counted,
    energy_of,
)
from tunefront.evaluators.measures.gpu import Gpus
from tunefront.evaluators.statistics.timing import Block, Timing

RANGE_UJ = 262_143_328_850


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages alone, on machines with GPUs too."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


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
