"""What OpenVINO supports and requires."""

from tunefront.evaluators.isolation.preload import PROGRAMS
from tunefront.spaces import Condition, Default, Exclusion, Extension, Requirement

from .exclusions import CPU_PLUGIN

_NO_TELEMETRY = "tunefront.evaluators.runtimes.openvino.telemetry:without_telemetry"
_BELOW_8_BITS = Condition(choice="quantization_bits", test="<", operands=(8,))

EXTENSION = Extension(
    name="openvino",
    short="ov",
    values={"runtime": {"openvino": "OpenVINO, weights and activations quantized by NNCF"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32", "bf16"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", "static", "rtn"}),
        "group_size": None,
    },
    defaults=(Default(alternatives=({"precision": "bf16"}, {})),),
    excludes=(
        Exclusion(
            when=(
                _BELOW_8_BITS,
                Condition(choice="quantization_method", test="==", operands=("dynamic", "static")),
            ),
            reason="openvino quantizes activations with 8-bit weights only",
        ),
        *CPU_PLUGIN,
    ),
    requires=(
        Requirement(distribution="openvino", extra="openvino"),
        Requirement(distribution="nncf", extra="openvino"),
    ),
    calibrated_when=(Condition(choice="quantization_method", test="==", operands=("static",)),),
    imports={"build": PROGRAMS, "open": ("numpy", _NO_TELEMETRY, "openvino")},
    provides={
        "runtime": "tunefront.evaluators.runtimes.openvino.runtime:OpenVino",
        "profiler": "tunefront.evaluators.runtimes.openvino.profiler:profile_openvino",
    },
)
