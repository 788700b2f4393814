"""What building imports anyway, imported once by the fork server that builds."""

import importlib
import importlib.util

_HEAVY = (
    "torch.export",
    "torch._inductor.compile_fx",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "torchao.quantization",
    "onnx",
    "onnxscript",
    "torch.onnx",
)


def preload() -> None:
    """Import what is installed of it."""
    for name in _HEAVY:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
