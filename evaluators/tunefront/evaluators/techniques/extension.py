"""The pruning methods as values of the choice `pruning_method`."""

from tunefront.spaces import Condition, Exclusion, Extension, Value

METHOD = "pruning_method"


def _not(choice: str, value: Value) -> Condition:
    return Condition(choice=choice, test="!=", operands=(value,))


_PRUNED = (Condition(choice="pruning_ratio", test=">", operands=(0.0,)),)
_DENSE = (
    "zeros in dense matrices gain nothing; only openvino stores them packed, with static 8 bits"
)

EXTENSIONS = (
    Extension(
        name="ffn-channels",
        short="ffn",
        values={
            METHOD: {"ffn-channels": "hidden channels of the feed-forward blocks: smaller matrices"}
        },
        calibrated_when=_PRUNED,
        provides={"technique": "tunefront.evaluators.techniques.structured:channels"},
    ),
    Extension(
        name="heads",
        values={METHOD: {"heads": "attention heads: smaller matrices"}},
        calibrated_when=_PRUNED,
        provides={"technique": "tunefront.evaluators.techniques.structured:heads"},
    ),
    Extension(
        name="layers",
        values={METHOD: {"layers": "whole layers"}},
        calibrated_when=_PRUNED,
        provides={"technique": "tunefront.evaluators.techniques.layers:LayerDropping"},
    ),
    Extension(
        name="magnitude",
        values={
            METHOD: {"magnitude": "single small weights: zeros, for runtimes with sparse kernels"}
        },
        excludes=(
            Exclusion(when=(_not("runtime", "openvino"),), reason=_DENSE),
            Exclusion(when=(_not("quantization_bits", 8),), reason=_DENSE),
            Exclusion(when=(_not("quantization_method", "static"),), reason=_DENSE),
            Exclusion(
                when=(Condition(choice="pruning_ratio", test="<", operands=(0.5,)),),
                reason="packed weights gain nothing below half zeros",
            ),
        ),
        provides={"technique": "tunefront.evaluators.techniques.magnitude:MagnitudePruning"},
    ),
)
