"""Names of operators as kinds of work, in every runtime's words."""

import pytest

from tunefront.evaluators.profiling.kinds import (
    kernel_kind,
    onnx_kind,
    openvino_kind,
    torch_kind,
    torch_name,
)


@pytest.mark.parametrize(
    ("operator", "module_class", "kind"),
    [
        ("aten::linear", "Linear", "matmul"),
        ("aten::addmm", "", "matmul"),
        ("aten::_int_mm", "Linear", "matmul"),
        ("aoti_torch_cpu_addmm_out", "", "matmul"),
        ("aten::matmul", "LlamaAttention", "attention"),
        ("aten::softmax", "LlamaAttention", "attention"),
        ("aten::softmax", "", "elementwise"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "", "attention"),
        ("aten::native_layer_norm", "LayerNorm", "normalisation"),
        ("aten::rsqrt", "LlamaRMSNorm", "normalisation"),
        ("aten::_to_copy", "LlamaRMSNorm", "memory"),
        ("aten::mkldnn_convolution", "Conv2d", "convolution"),
        ("aten::copy_", "", "memory"),
        ("aten::gelu", "GELU", "elementwise"),
        ("aten::fake_quantize_per_tensor_affine", "", "quantise"),
        ("graph_0_cpp_fused_add_native_layer_norm_view_2", "", "normalisation"),
        ("graph_0_cpp_fused_gelu_view_3", "", "elementwise"),
        ("mine::operator", "", "other"),
    ],
)
def test_operators_of_torch(operator: str, module_class: str, kind: str) -> None:
    assert torch_kind(operator, module_class) == kind


def test_a_name_is_the_operator_whoever_calls_it() -> None:
    assert torch_name("aten::_to_copy") == "to_copy"
    assert torch_name("aten::add_") == "add"
    assert torch_name("aoti_torch_cpu_addmm_out") == "addmm"


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("MatMulNBits", "matmul"),
        ("MultiHeadAttention", "attention"),
        ("SkipLayerNormalization", "normalisation"),
        ("DynamicQuantizeLinear", "quantise"),
        ("Transpose", "memory"),
        ("FusedConv", "convolution"),
        ("FastGelu", "elementwise"),
    ],
)
def test_operators_of_onnx_runtime(operator: str, kind: str) -> None:
    assert onnx_kind(operator) == kind


@pytest.mark.parametrize(
    ("operator", "name", "kind"),
    [
        ("FullyConnected", "linear/aten.linear.default/MatMul", "matmul"),
        ("FullyConnectedQuantizedLegacy", "", "matmul"),
        ("Subgraph", "scaled_dot_product_attention/x", "attention"),
        ("Subgraph", "add_1/x", "elementwise"),
        ("MVN", "", "normalisation"),
        ("Reorder", "", "memory"),
        ("FakeQuantize", "", "quantise"),
    ],
)
def test_nodes_of_openvino(operator: str, name: str, kind: str) -> None:
    assert openvino_kind(operator, name) == kind


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("sm90_xmma_gemm_bf16bf16", "matmul"),
        ("pytorch_flash::flash_fwd_kernel", "attention"),
        ("vectorized_layer_norm_kernel", "normalisation"),
        ("Memcpy DtoH", "memory"),
        ("triton_poi_fused_add_0", "elementwise"),
        ("void mine()", "other"),
    ],
)
def test_kernels_of_a_gpu(kernel: str, kind: str) -> None:
    assert kernel_kind(kernel) == kind
