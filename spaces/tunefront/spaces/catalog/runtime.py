"""The runtime and the device; runtimes add themselves as values of `runtime`."""

from tunefront.spaces.choice import Value
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension
from tunefront.spaces.rules import Context, Rule

RUNTIME = ChoiceKind(
    name="runtime",
    stage="runtime",
    default="torch",
    help="The library that builds and runs the model.",
    words={},
    label_default=True,
)

GPU = "cuda"
"""Value of `device` for which a configuration uses GPUs."""

DEVICE = ChoiceKind(
    name="device",
    stage="runtime",
    default="cpu",
    help="Where the model runs.",
    words={"cpu": "the processor", GPU: "an NVIDIA GPU"},
)


def _visible(context: Context, device: Value) -> str | None:
    """Return why no GPU can be used, with the reason for each that is there."""
    if device != GPU or context.hardware.gpus:
        return None
    return "; ".join(["no GPU is visible", *context.hardware.gpu_problems])


EXTENSION = Extension(
    name="runtime",
    choices=(RUNTIME, DEVICE),
    rules=(Rule(name="device", choices=("device",), reason=_visible),),
)
