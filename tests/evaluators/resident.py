"""Opens a candidate and returns its peak memory; run by the conformance tests of runtimes."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.tensors import TensorEndpoint
from tunefront.evaluators.measures.memory import process_memory

REQUESTS = 20


def peak(request: Mapping[str, str]) -> dict[str, float]:
    """Peak memory in MB after some requests; `request` names the folder and the inputs' file."""
    endpoint = open_candidate(request["candidate"])
    assert isinstance(endpoint, TensorEndpoint)
    with np.load(Path(request["inputs"]), allow_pickle=False) as arrays:
        inputs = {name: arrays[name] for name in arrays.files}
    for _ in range(REQUESTS):
        endpoint.call(inputs)
    return {"peak_mb": process_memory(os.getpid()).peak_mb}
