"""The model stage: a workload's module with a configuration's techniques applied."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.pipelines.workload import AnyWorkload, build_workload, catalog_for
from tunefront.evaluators.store.store import Store, key_of
from tunefront.evaluators.techniques.pruning import active_techniques
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration

if TYPE_CHECKING:
    import torch

CALIBRATION_REQUESTS = 8
CALIBRATION_BATCH = 4
CALIBRATION_ITEMS = CALIBRATION_REQUESTS * CALIBRATION_BATCH
"""Number of items that techniques and builds are calibrated with."""
PLANS_FILE = "plans.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStage:
    """What the product of the model stage depends on.

    Attributes:
        workload: The workload.
        configuration: The complete configuration.
        store: Root of the store.
        model_key: Key of the model stage's product.
    """

    workload: WorkloadSpec
    configuration: Configuration
    store: Path
    model_key: str


def use_own_cores() -> None:
    """Set torch's number of threads to the number of cores of this process."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))


def calibration_of(spec: WorkloadSpec, configuration: Configuration | None = None) -> AnyWorkload:
    """Return the workload with its calibration data, or with its own data if it names none."""
    return build_workload(replace(spec, data=spec.calibration or spec.data), configuration)


def calibration_requests(spec: WorkloadSpec, configuration: Configuration) -> list[Any]:
    """Return the requests that techniques and builds are calibrated with, of its interface."""
    return calibration_of(spec, configuration).requests(CALIBRATION_BATCH, CALIBRATION_REQUESTS)


def apply_techniques(
    module: "torch.nn.Module", stage: ModelStage, calibration: list[Inputs]
) -> None:
    """Apply the configuration's techniques to the module in place.

    Plans and weights are stored for the model choices and applied again if they exist.
    """
    techniques = active_techniques(catalog_for(stage.workload), stage.configuration)
    if not techniques:
        return
    from safetensors.torch import load_model, save_model

    done = False

    def make(folder: Path) -> None:
        nonlocal done
        plans = [technique.plan(module, amount, calibration) for technique, amount in techniques]
        (folder / PLANS_FILE).write_text(json.dumps(plans))
        save_model(module, str(folder / WEIGHTS_FILE))
        done = True

    folder = Store(stage.store).get_or_make(key_of(kind="techniques", model=stage.model_key), make)
    if not done:
        plans = json.loads((folder / PLANS_FILE).read_text())
        for (technique, _), plan in zip(techniques, plans, strict=True):
            technique.apply(module, plan)
        load_model(module, folder / WEIGHTS_FILE)
