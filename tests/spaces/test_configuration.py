"""Configurations: equality, the canonical text, and what each stage depends on."""

import json
import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.spaces import Configuration, Stage, Value, show

NAMES = st.sampled_from(["threads", "batch_size", "runtime", "precision", "pruning_ratio"])
VALUES = (
    st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: value != 0.0)
    | st.text(max_size=8)
)
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=5)

STAGES: dict[str, Stage] = {"ratio": "model", "runtime": "runtime", "threads": "execution"}


@given(MAPPINGS)
def test_it_reads_like_the_mapping_it_was_made_of(values: dict[str, Value]) -> None:
    configuration = Configuration(values)
    assert dict(configuration) == values
    assert list(configuration) == list(values)
    assert len(configuration) == len(values)


@given(MAPPINGS)
def test_the_order_of_names_does_not_count(values: dict[str, Value]) -> None:
    one = Configuration(values)
    other = Configuration(dict(reversed(values.items())))
    assert one == other
    assert hash(one) == hash(other)
    assert one.to_json() == other.to_json()


@given(MAPPINGS, MAPPINGS)
def test_equal_configurations_and_only_those_give_equal_text(
    values: dict[str, Value], others: dict[str, Value]
) -> None:
    one, other = Configuration(values), Configuration(others)
    assert (one == other) is (one.to_json() == other.to_json())


def test_numbers_equal_in_value_are_one_value() -> None:
    whole, fraction = Configuration({"ratio": 0}), Configuration({"ratio": 0.0})
    assert whole == fraction
    assert len({whole, fraction}) == 1
    assert whole.to_json() == fraction.to_json() == '{"ratio":0.0}'


def test_the_text_is_json_in_the_order_of_names() -> None:
    text = Configuration({"threads": 2, "runtime": "torch", "flag": True}).to_json()
    assert text == '{"flag":true,"runtime":"torch","threads":2.0}'
    assert json.loads(text) == {"flag": True, "runtime": "torch", "threads": 2}


def test_it_equals_nothing_but_configurations() -> None:
    assert Configuration({"threads": 2}) != {"threads": 2}


def test_later_changes_to_the_values_do_not_reach_it() -> None:
    values: dict[str, Value] = {"threads": 2}
    configuration = Configuration(values)
    values["threads"] = 4
    assert configuration["threads"] == 2


def test_values_come_as_the_type_that_is_asked_for() -> None:
    configuration = Configuration({"runtime": "torch", "threads": 2.0, "ratio": 1})
    assert configuration.text("runtime") == "torch"
    assert type(configuration.integer("threads")) is int
    assert type(configuration.number("ratio")) is float


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("model", ["ratio"]),
        ("runtime", ["ratio", "runtime"]),
        ("execution", ["ratio", "runtime", "threads"]),
    ],
)
def test_a_stage_depends_on_the_choices_up_to_it(stage: Stage, names: list[str]) -> None:
    configuration = Configuration({"threads": 2, "runtime": "torch", "ratio": 0.5})
    assert list(configuration.up_to(stage, STAGES)) == names


def test_the_label_keeps_the_order_in_which_it_was_made() -> None:
    configuration = Configuration({"runtime": "torch", "ratio": 0.50, "threads": 2})
    assert configuration.label() == "runtime=torch ratio=0.5 threads=2"
    assert repr(configuration) == "Configuration(runtime=torch ratio=0.5 threads=2)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (0.50, "0.5"), (2.0, "2"), (2, "2"), ("torch", "torch")],
)
def test_a_value_is_written_one_way(value: Value, text: str) -> None:
    assert show(value) == text


def test_it_is_found_after_it_came_from_another_process() -> None:
    """Hashes of texts differ between processes."""
    made = (
        "import pickle, sys; from tunefront.spaces import Configuration; "
        "sys.stdout.buffer.write(pickle.dumps(Configuration({'runtime': 'torch'})))"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", made], env=environment, capture_output=True, check=True
        )
        assert pickle.loads(done.stdout) in {Configuration({"runtime": "torch"})}
