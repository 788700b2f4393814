"""Fresh processes and a store for the session."""

from collections.abc import Iterator, Mapping

import pytest

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Protocol,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
)
from tunefront.spaces import Value

TORCH: Mapping[str, Value] = dict(
    builtin_catalog().complete({"runtime": "torch", "threads": 1, "batch_size": 1})
)
QUICK = Protocol(seconds=0.2, turns=3, requests=2, block_s=0.01, wait_s=0.0)


@pytest.fixture(scope="session")
def isolation() -> Iterator[Isolation]:
    """Fork servers that live as long as the session."""
    found = Isolation()
    yield found
    found.close()


@pytest.fixture(scope="session")
def lm_setting(
    lm_spec: WorkloadSpec, isolation: Isolation, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationSettings:
    """The tiny model, checked, with a store of its own."""
    folder = tmp_path_factory.mktemp("setting")
    described = describe_workload(lm_spec, isolation, folder / "log")
    return EvaluationSettings(
        workload=lm_spec,
        fingerprint=described.fingerprint,
        store=str(folder / "store"),
        protocol=QUICK,
        build_cores=1,
    )
