"""Classification of operators into kinds of work by their name in each runtime."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from .profile import Kind


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TORCH_MATMUL = _names(
    "mm addmm bmm baddbmm matmul linear einsum mv addmv dot addbmm mkldnn_linear "
    "int_mm scaled_mm weight_int8pack_mm weight_int4pack_mm "
    "weight_int4pack_mm_for_cpu mkldnn_linear_pointwise linear_pointwise "
    "qlinear_pointwise"
)
_TORCH_MEMORY = _names(
    "view reshape transpose t permute expand expand_as as_strided slice select "
    "unsqueeze squeeze clone copy contiguous to to_copy empty empty_like "
    "empty_strided zeros zeros_like ones ones_like new_ones new_zeros new_empty "
    "full full_like fill zero arange cat stack index index_select index_put gather "
    "scatter embedding split split_with_sizes chunk narrow flatten unflatten unfold "
    "lift_fresh resolve_conj resolve_neg detach alias repeat repeat_interleave "
    "unsafe_view reshape_alias view_as pad constant_pad_nd roll flip tril triu "
    "unbind result_type local_scalar_dense item sym_size type_as numpy_t set resize "
    "im2col"
)
VIEWS = _names(
    "view transpose t permute expand expand_as as_strided slice select unsqueeze "
    "squeeze empty empty_like empty_strided new_empty lift_fresh resolve_conj "
    "resolve_neg detach alias unsafe_view reshape_alias view_as split "
    "split_with_sizes chunk narrow unbind unfold sym_size result_type resize set"
)
"""Torch operators that move no data."""
_ONNX: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        "matmul": _names(
            "MatMul Gemm FusedMatMul FusedGemm MatMulNBits MatMulInteger "
            "DynamicQuantizeMatMul MatMulIntegerToFloat QLinearMatMul QGemm TransposeMatMul "
            "Einsum"
        ),
        "convolution": _names("Conv FusedConv QLinearConv ConvInteger NhwcFusedConv ConvTranspose"),
        "attention": _names(
            "Attention QAttention MultiHeadAttention GroupQueryAttention "
            "DecoderMaskedMultiHeadAttention PackedAttention"
        ),
        "quantise": _names("DynamicQuantizeLinear QuantizeLinear DequantizeLinear"),
        "memory": _names(
            "Gather GatherElements GatherND Reshape Transpose Concat Slice Expand Unsqueeze "
            "Squeeze Shape Cast Split ConstantOfShape Identity Flatten Pad Range ScatterND "
            "ScatterElements Tile ReorderInput ReorderOutput MemcpyToHost MemcpyFromHost"
        ),
    }
)
_OPENVINO: Mapping[Kind, frozenset[str]] = MappingProxyType(
    {
        "matmul": _names("MatMul LLMMLP QKVProjection"),
        "convolution": _names("Convolution GroupConvolution Deconvolution"),
        "attention": _names(
            "ScaledDotProductAttention ScaledDotProductAttentionWithKVCache MHA PagedAttention"
        ),
        "normalisation": _names("MVN RMS RMSNorm NormalizeL2 LRN GroupNormalization"),
        "quantise": _names("FakeQuantize"),
        "memory": _names(
            "Reorder Convert Transpose Reshape Gather GatherElements GatherND Concat "
            "Concatenation Split Slice StridedSlice Broadcast Unsqueeze Squeeze ShapeOf "
            "Range Tile Pad Parameter Result Input Output Constant ReadValue Assign "
            "ScatterUpdate MemoryInput MemoryOutput"
        ),
    }
)
_KERNELS: tuple[tuple[str, Kind], ...] = (
    (r"flash|fmha|attention", "attention"),
    (r"gemm|cutlass|xmma|cublas|splitk|nvjet", "matmul"),
    (r"conv|cudnn", "convolution"),
    (r"norm", "normalisation"),
    (r"memcpy|memset|copy|cat|index|gather|scatter|transpose", "memory"),
    (r"quant", "quantise"),
    (r"elementwise|triton_|softmax|reduce", "elementwise"),
)
"""Patterns of GPU kernel names with their kinds; the first match counts."""


def torch_name(operator: str) -> str:
    """Normalize a name: `aten::_to_copy` -> `to_copy`, `aoti_torch_cpu_addmm_out` -> `addmm`."""
    name = re.sub(r"^(aten|mkldnn|onednn|quantized|prims)::|^aoti_torch_(cpu|cuda)_", "", operator)
    return name.removesuffix("_out").strip("_")


def torch_kind(operator: str, module_class: str = "") -> Kind:
    """Classify a torch operator or a kernel fused by Inductor.

    Args:
        operator: Its name in the profiler.
        module_class: Class of the innermost module it belongs to; empty if unknown.
    """
    name = torch_name(operator)
    if "scaled_dot_product" in name or "flash_attention" in name:
        return "attention"
    if "cpp_fused" in name or name.startswith("triton_"):
        return _fused_kind(name)
    if "quantize" in name or "qparams" in name:
        return "quantise"
    if name in _TORCH_MEMORY:
        return "memory"
    if name in _TORCH_MATMUL or name == "softmax":
        in_attention = "attention" in module_class.lower()
        plain: Kind = "elementwise" if name == "softmax" else "matmul"
        return "attention" if in_attention else plain
    if "conv" in name and "convert" not in name:
        return "convolution"
    if "norm" in name or "norm" in module_class.lower():
        return "normalisation"
    return "elementwise" if operator.startswith(("aten::", "aoti_torch_")) else "other"


def _fused_kind(name: str) -> Kind:
    if "norm" in name:
        return "normalisation"
    if "gemm" in name or "_mm_" in name:
        return "matmul"
    return "attention" if "softmax" in name else "elementwise"


def kernel_kind(kernel: str) -> Kind:
    """Classify a GPU kernel whose operator is unknown."""
    low = kernel.lower()
    for pattern, kind in _KERNELS:
        if re.search(pattern, low):
            return kind
    return "other"


def onnx_kind(operator: str) -> Kind:
    """Classify an ONNX Runtime operator."""
    if "Normalization" in operator:
        return "normalisation"
    return _kind_in(_ONNX, operator)


def openvino_kind(operator: str, name: str = "") -> Kind:
    """Classify a node of OpenVINO's CPU plugin.

    Args:
        operator: Its type.
        name: Its name, which contains the names of the operators fused into a `Subgraph`.
    """
    if operator == "Subgraph" and "scaled_dot_product_attention" in name:
        return "attention"
    return "matmul" if operator.startswith("FullyConnected") else _kind_in(_OPENVINO, operator)


def _kind_in(names_of: Mapping[Kind, frozenset[str]], operator: str) -> Kind:
    for kind, names in names_of.items():
        if operator in names:
            return kind
    return "elementwise"
