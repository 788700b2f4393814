"""The conformance suite of runtimes with the tensors interface."""

import ast
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tunefront.evaluators.pipelines.read_back import not_applied
from tunefront.evaluators.statistics.arrays import Array

from .cases import OPEN_THREADS, NotConformant, RuntimeCase

_SIZES = ((1, 7), (3, 24), (4, 50))
"""Batch sizes and lengths that are tried."""


def least_cosine(case: RuntimeCase) -> float:
    """Return the smallest allowed cosine between the outputs and the module's.

    Values that all built-in runtimes keep with random weights: 8 bits keep three digits, 4 bits
    about one and a half.
    """
    bits = case.configuration.integer("quantization_bits")
    if bits == 16:
        return {"fp32": 0.999999, "fp16": 0.9999}.get(case.configuration.text("precision"), 0.9995)
    if bits == 8:
        found = {"rtn": 0.999, "dynamic": 0.995}
        return found.get(case.configuration.text("quantization_method"), 0.97)
    return 0.97 if bits == 4 else 0.8


def cosine(one: Array, other: Array, mask: Array | None) -> float:
    """Return the cosine over everything that is not padding."""
    if one.ndim == 3 and mask is not None:
        one, other = one[mask.astype(bool)], other[mask.astype(bool)]
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def outputs_are_close_at_every_size(case: RuntimeCase) -> None:
    """Outputs are fp32, of the module's shape, and close to its outputs.

    Raises:
        NotConformant: If not; with the size and the cosine.
    """
    for batch, length in _SIZES:
        request = case.make_request(batch, length, 100 + batch)
        expected = case.reference(request)
        output = case.endpoint(request)[0]
        if output.shape != expected.shape or output.dtype != np.float32:
            raise NotConformant(
                f"outputs must be float32 of shape {expected.shape}, but are {output.dtype} of "
                f"shape {output.shape}"
            )
        found = cosine(output, expected, request.get("attention_mask"))
        if not found >= (least := least_cosine(case)):  # also if it is not a number
            raise NotConformant(
                f"outputs at batch size {batch} must have a cosine of at least {least:g} with "
                f"the module's, but it is {found:.6f}"
            )


def choices_are_read_back(case: RuntimeCase) -> None:
    """Every choice of the configuration is read back from the running candidate.

    Raises:
        NotConformant: If one is not, or facts about the weights are missing.
    """
    facts = case.endpoint.facts()
    if missing := {"runtime", "weight_bits", "sparsity", "parameters"} - set(facts):
        raise NotConformant(f"facts() must hold {sorted(missing)[0]}, but does not")
    asked = case.catalog.complete({**case.configuration, "threads": OPEN_THREADS})
    if (problem := not_applied(case.catalog, asked, facts, case.record)) is not None:
        raise NotConformant(problem)


def loading_again_gives_the_same_outputs(case: RuntimeCase) -> None:
    """A candidate that is opened once more returns the same outputs.

    Raises:
        NotConformant: If they differ.
    """
    request = case.make_request(2, 16, 0)
    again = case.open()
    try:
        output = again(request)[0]
    finally:
        again.close()
    if not np.array_equal(output, case.endpoint(request)[0]):
        raise NotConformant("outputs must be the same after loading again, but they differ")


def nothing_saved_is_pickled(case: RuntimeCase) -> None:
    """No file of the folder has to be unpickled.

    Raises:
        NotConformant: If one has; with its name.
    """
    assert case.record
    for path in case.folder.rglob("*"):
        pickled = pickled_members(path) if path.suffix == ".pt2" else []
        if pickled or path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib"):
            raise NotConformant(f"{path.name} must not be pickled, but is {pickled or 'a pickle'}")


def pickled_members(path: Path) -> list[str]:
    """Return members of a .pt2 that torch would unpickle: inputs, and weights marked so."""
    found: list[str] = []
    with zipfile.ZipFile(path) as package:
        for info in package.infolist():
            if info.filename.endswith((".pkl", ".pt")) and info.file_size:
                found.append(info.filename)
            if info.filename.endswith("_config.json"):
                config = json.loads(package.read(info)).get("config", {})
                found += [name for name, entry in config.items() if entry["use_pickle"]]
    return found


def the_script_loads_and_runs(case: RuntimeCase) -> None:
    """The script of an export defines `load()` and `run(model, inputs)`, without tunefront.

    A runtime without a deployment has no script.

    Raises:
        NotConformant: If it does not.
    """
    deployment = case.runtime.deployment(case.built, case.configuration)
    if deployment is None:
        return
    script = deployment.script
    body = ast.parse(script).body
    functions = {f.name: len(f.args.args) for f in body if isinstance(f, ast.FunctionDef)}
    if functions.get("load") != 0 or functions.get("run") != 2:
        raise NotConformant(
            "the script must define load() and run(model, inputs), but defines "
            f"{', '.join(functions) or 'nothing'}"
        )
    if "tunefront" in script:
        raise NotConformant("the script must not use tunefront")


RUNTIME_CHECKS: tuple[Callable[[RuntimeCase], None], ...] = (
    outputs_are_close_at_every_size,
    choices_are_read_back,
    loading_again_gives_the_same_outputs,
    nothing_saved_is_pickled,
    the_script_loads_and_runs,
)
