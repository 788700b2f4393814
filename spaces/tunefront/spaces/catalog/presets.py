"""Predefined spaces for common machines; keys that a user adds to `preset:` override them."""

from collections.abc import Mapping
from types import MappingProxyType

from .numerics import FP8, TF32

PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "cpu-inference": {
            "runtime": ["torch", "inductor", "onnxruntime", "openvino"],
            "precision": ["fp32", "bf16"],
            "quantization_bits": [16, 8],
            "quantization_method": ["dynamic", "static", "rtn"],
            "batch_size": [1, 8, 32],
            "threads": [1, 2, 4, 8],
        },
        "cpu-latency": {
            "runtime": ["inductor", "onnxruntime", "openvino"],
            "precision": ["fp32", "bf16"],
            "quantization_bits": [16, 8],
            "quantization_method": ["dynamic", "static"],
            "batch_size": [1],
            "threads": [1, 2, 4, 8, 16],
        },
        "cpu-small": {
            "runtime": ["torch", "onnxruntime", "openvino"],
            "precision": ["fp32", "bf16"],
            "quantization_bits": [8, 4],
            "quantization_method": ["dynamic", "rtn"],
            "pruning_ratio": [0.0, 0.125, 0.25, 0.5],
            "pruning_method": ["ffn-channels", "layers"],
            "batch_size": [1, 8],
        },
        "cuda-inference": {
            "device": ["cuda"],
            "runtime": ["torch", "inductor"],
            "precision": [TF32, "bf16", "fp16"],
            "quantization_bits": [16, 8],
            "quantization_method": ["dynamic", FP8, "rtn"],
            "max_autotune": [False, True],
            "batch_size": [1, 8, 32, 128, 512],
            "cuda_graphs": [False, True],
        },
    }
)
