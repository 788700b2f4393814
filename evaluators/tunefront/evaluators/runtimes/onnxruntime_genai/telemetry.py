"""ONNX Runtime and ONNX Runtime GenAI without their telemetry."""

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Switch off the telemetry of both libraries; call it before either is imported.

    Otherwise they write an identifier of the device to the user's cache folder and send events
    (onnxruntime 1.32, onnxruntime-genai 0.18).
    """
    os.environ[VARIABLE] = "1"
