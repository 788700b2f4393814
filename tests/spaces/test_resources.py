"""What a configuration needs, against the same written out by hand."""

from dataclasses import FrozenInstanceError
from itertools import product

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.spaces import Resources, Value, resources_of

complete = builtin_catalog().complete


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_process_has_its_threads_and_on_gpus_a_gpu(device: str) -> None:
    for threads, replicas, ranks in product((1, 2, 3, 8), repeat=3):
        found = resources_of(
            complete(
                {
                    "threads": threads,
                    "replicas": replicas,
                    "tensor_parallel": ranks,
                    "device": device,
                }
            )
        )
        processes = [(replica, rank) for replica in range(replicas) for rank in range(ranks)]
        cores = [(process, thread) for process in processes for thread in range(threads)]
        assert found.processes == len(processes)
        assert found.threads == threads
        assert found.cores == len(cores)
        assert found.gpus == (len(processes) if device == "cuda" else 0)


def test_what_is_not_chosen_needs_one_core() -> None:
    assert resources_of(complete({})) == Resources(processes=1, threads=1, gpus=0)


def test_other_choices_do_not_matter() -> None:
    chosen: dict[str, Value] = {"runtime": "openvino", "batch_size": 64, "pruning_ratio": 0.5}
    assert resources_of(complete(chosen)) == resources_of(complete({}))


def test_resources_do_not_change() -> None:
    found = Resources(processes=1, threads=1, gpus=0)
    with pytest.raises(FrozenInstanceError):
        found.threads = 2  # type: ignore[misc]
