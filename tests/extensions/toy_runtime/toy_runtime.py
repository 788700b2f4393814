"""A runtime of a user: linear layers in NumPy, for modules that are a stack of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Configuration, Extension, Requirement

WEIGHTS_FILE = "weights.npz"

EXTENSION = Extension(
    name="numpy",
    short="np",
    values={"runtime": {"numpy": "NumPy, layer by layer"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32"}),
        "quantization_bits": frozenset({16}),
    },
    requires=(Requirement(distribution="numpy"),),
    provides={"runtime": "toy_runtime:NumpyRuntime"},
)


class NumpyRuntime(Runtime):
    """Saves the matrices of a module as arrays and multiplies by them."""

    name = "numpy"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Save the weights."""
        state = source.module().state_dict()
        np.savez(folder / WEIGHTS_FILE, **{name: t.numpy() for name, t in state.items()})
        return {"input": source.inputs[0].name}

    def open(self, built: Built, configuration: Configuration) -> TensorEndpoint:
        """Open the weights."""
        name, threads = str(built.settings["input"]), configuration.integer("threads")
        return NumpyEndpoint(built.folder / WEIGHTS_FILE, name, threads)

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs numpy only."""
        script = _SCRIPT.format(file=WEIGHTS_FILE, input=built.settings["input"])
        return Deployment(script=script, requirements=("numpy",))


class NumpyEndpoint(TensorEndpoint):
    """The layers, applied in order with a ReLU between them."""

    def __init__(self, path: Path, name: str, threads: int) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self._state = {key: arrays[key] for key in arrays.files}
        self._name = name
        self._threads = threads

    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request."""
        values = np.asarray(inputs[self._name])
        matrices = [name for name in self._state if name.endswith(".weight")]
        for place, name in enumerate(matrices):
            bias = self._state[name.removesuffix("weight") + "bias"]
            values = values @ self._state[name].T + bias
            if place < len(matrices) - 1:
                values = np.maximum(values, 0)
        return [values.astype(np.float32)]

    def facts(self) -> Facts:
        """Read the properties from the arrays."""
        matrices = [array for array in self._state.values() if array.ndim == 2]
        count = sum(array.size for array in matrices)
        return {
            "runtime": "numpy",
            "device": "cpu",
            "precision": {"float32": "fp32"}.get(str(matrices[0].dtype), "other"),
            "quantization_bits": 16,
            "tensor_parallel": 1,
            "threads": self._threads,
            "weight_bits": float(sum(array.nbytes * 8 for array in matrices) / count),
            "sparsity": float(sum((array == 0).sum() for array in matrices) / count),
            "parameters": count,
        }


_SCRIPT = '''\
"""Runs the exported model on its recorded inputs. Needs numpy, nothing else."""
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent


def load():
    """The weights by name."""
    return dict(np.load(HERE / "{file}", allow_pickle=False))


def run(model, inputs):
    """One request: arrays by name in, a list of arrays out."""
    values = np.asarray(inputs["{input}"])
    matrices = [name for name in model if name.endswith(".weight")]
    for place, name in enumerate(matrices):
        values = values @ model[name].T + model[name[:-6] + "bias"]
        if place < len(matrices) - 1:
            values = np.maximum(values, 0)
    return [values.astype(np.float32)]
'''
