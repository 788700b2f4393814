"""OpenVINO and NNCF without their telemetry."""

import sys
from typing import Any

PACKAGE = "openvino_telemetry"


def without_telemetry() -> None:
    """Let this process import OpenVINO and NNCF as if their telemetry package were not installed.

    No environment variable disables it (OpenVINO 2026.4): every import and every conversion starts
    a thread and a process that send an event.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault(PACKAGE, None)
