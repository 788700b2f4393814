"""ONNX Runtime and ONNX Runtime GenAI without their telemetry."""

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Switch the telemetry of both libraries off; call it before one of them is imported.

    Without the variable an import writes an identifier of the device to the user's cache folder
    (ONNX Runtime 1.32, GenAI 0.18). Tasks have it from the start; other processes, such as that of
    a verification or a user that opens an export, do not.
    """
    os.environ[VARIABLE] = "1"
