"""What the conformance suites try extensions with: a small module, its requests, a built case."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint, TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.runtimes.base import Built, Runtime, Source
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Catalog, Configuration, Hardware, TunefrontError

FEATURES = 64
"""Numbers in an item of the small module."""
OPEN_THREADS = 2
"""Threads that candidates are opened with."""


class NotConformant(TunefrontError):
    """An extension breaks its contract; the message describes how."""


def feature_request(batch: int, length: int, seed: int = 0) -> Inputs:
    """Return a request of random features; `length` does not matter."""
    random = np.random.default_rng((seed, length))
    return {"input": random.normal(size=(batch, FEATURES)).astype(np.float32)}


def layered_module() -> torch.nn.Module:
    """Return three linear layers with the same random weights at every call."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(FEATURES, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128)]
    return torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(128, 32)).eval()


def kept_below(root: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of this name below `root`; it is made if it does not exist."""
    if not (root / name).exists():
        (root / name).mkdir(parents=True)
        make(root / name)
    return root / name


def layered_source(hardware: Hardware, shared: Path) -> Source:
    """Return a source of `layered_module`; what builds share is kept below `shared`."""
    return Source(
        module=cache(layered_module),
        inputs=(TensorSpec(name="input", dims=("batch", FEATURES)),),
        calibration=[feature_request(4, 0, seed) for seed in range(4)],
        shared=partial(kept_below, shared),
        hardware=hardware,
    )


@dataclass(frozen=True)
class RuntimeCase:
    """A runtime with a configuration, built when it is first needed.

    Attributes:
        catalog: The catalogue of the configuration.
        runtime: The runtime.
        configuration: The complete configuration.
        make_source: Returns a fresh source at every call.
        folder: An empty folder for the build.
        make_request: Returns a request of some items; for texts, of some length; from a seed.
    """

    catalog: Catalog
    runtime: Runtime
    configuration: Configuration
    make_source: Callable[[], Source]
    folder: Path
    make_request: Callable[[int, int, int], Inputs] = feature_request

    @cached_property
    def record(self) -> CandidateRecord:
        """The record of the built candidate."""
        settings = self.runtime.build(self.make_source(), self.configuration, self.folder)
        return CandidateRecord(
            configuration=self.configuration,
            settings=settings,
            parameters=1,
            reference_parameters=1,
        )

    @cached_property
    def module(self) -> torch.nn.Module:
        """The torch module that outputs are compared with."""
        return self.make_source().module()

    @property
    def built(self) -> Built:
        """The built candidate."""
        return Built(folder=self.folder, settings=self.record.settings)

    @cached_property
    def endpoint(self) -> TensorEndpoint:
        """The built candidate, opened when it is first needed; the checks share it."""
        return self.open()

    def open(self) -> TensorEndpoint:
        """Open the built candidate once more."""
        configuration = Configuration({**self.configuration, "threads": OPEN_THREADS})
        endpoint = self.runtime.open(self.built, configuration)
        if not isinstance(endpoint, TensorEndpoint):
            raise NotConformant(
                f"open() must return a TensorEndpoint, but returned {type(endpoint).__name__}"
            )
        return endpoint

    def close(self) -> None:
        """Close the shared endpoint if it was opened."""
        if "endpoint" in self.__dict__:
            self.endpoint.close()

    def reference(self, request: Inputs) -> Array:
        """Return the output of the torch module."""
        with torch.no_grad():
            output: Array = self.module(**tensors(request)).numpy()
        return output
