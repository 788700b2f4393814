"""No process that forks has a CUDA context, whatever it imports; tasks on the GPU have their own.

Every import profile of a fork server is tried, with the modules that configurations need besides.
"""

import pytest

from tunefront.evaluators import WorkloadSpec, builtin_catalog
from tunefront.evaluators.isolation.preload import BUILD_IMPORTS, imports_of, open_imports
from tunefront.evaluators.isolation.task import Task
from tunefront.spaces import Value

from .harness import Bench, CheckFigures, gpu_pids
from .tasks import Use

CATALOG = builtin_catalog()


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param("build torch", marks=pytest.mark.takes(10)),  # the models are made for it
        pytest.param("build inductor", marks=pytest.mark.takes(6)),
        pytest.param("torch", marks=pytest.mark.takes(6)),
        pytest.param("inductor", marks=pytest.mark.takes(6)),
    ],
)
def test_a_fork_server_has_no_context_and_a_task_has_its_gpu(
    profile: str, bench: Bench, workloads: dict[str, WorkloadSpec], figures: CheckFigures
) -> None:
    *building, runtime = profile.split()
    bits: dict[str, Value] = {"quantization_bits": 8, "quantization_method": "dynamic"}
    configuration = bench.mode.configuration(runtime=runtime, **bits)
    needs = imports_of(CATALOG, workloads["encoder"].task, configuration) if building else ()
    imports = BUILD_IMPORTS if building else open_imports(CATALOG, runtime)

    def task(function: str, devices: tuple[str, ...], device: str) -> Task[dict[str, object]]:
        return Task(
            function=f"tests.gpu.tasks:{function}",
            request=Use(device=device),
            result=dict,
            imports=imports,
            needs=needs,
            log=bench.log,
            timeout_s=120.0,
            devices=devices,
        )

    forked = bench.isolation.run(task("look", (), "cpu"))
    figures(forked=forked)
    on_device = bench.isolation.run(task("use", bench.mode.devices, bench.mode.device))
    contexts = gpu_pids() if bench.mode.on_gpu else []
    figures(on_device=on_device, contexts=contexts)
    assert (forked["bad_fork"], forked["initialized"], forked["visible"]) == (False, False, "")
    assert (on_device["bad_fork"], on_device["sum"]) == (False, 8.0)
    assert on_device["uuid"] == bench.mode.uuid
    assert forked["parent"] not in contexts
