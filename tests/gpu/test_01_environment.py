"""What the machine is: all that `doctor` reports, and the speed of products and copies."""

import pytest

from tunefront.evaluators.isolation.codec import to_plain
from tunefront.spaces import detect_hardware

from .harness import CheckFigures, Mode, body


@pytest.mark.takes(12)
def test_the_machine_is_recorded(figures: CheckFigures, mode: Mode) -> None:
    """In a process of its own, because gathering imports torch."""
    setup = body("machine")
    figures(setup=setup, hardware=to_plain(detect_hardware()))
    speeds = body("speeds", device=mode.device, width=mode.size(8192, 512))
    figures(**speeds)
    assert all(value > 0 for value in speeds.values())
    if mode.on_gpu:
        assert setup["driver"] and setup["gpus"] and setup["toolchain"]["cuda"]
        assert setup["gpus"][0]["uuid"]
        assert setup["covered"], "this build of torch has no kernels for the GPU"
        assert speeds["bf16_tflops"] > 1.5 * speeds["tf32_tflops"] > 1.5 * speeds["fp32_tflops"]
        assert speeds["pinned_copy_gb_s"] > speeds["pageable_copy_gb_s"]
