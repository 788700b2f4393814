"""Steps that say what their process has imported; run by test_preload.py in fresh processes."""

import gc
import sys
from collections.abc import Mapping


def modules(payload: Mapping[str, object]) -> dict[str, object]:
    return {
        "modules": sorted(sys.modules),
        "collects": gc.isenabled(),
        "tracked": len(gc.get_objects()),
        "frozen": gc.get_freeze_count(),
    }


def opens(payload: Mapping[str, str]) -> dict[str, object]:
    import torch

    before = set(sys.modules)
    run = torch.export.load(payload["program"]).module()
    return {
        "output": list(run(torch.zeros(3, 4)).shape),
        "imported": sorted(set(sys.modules) - before),
    }
