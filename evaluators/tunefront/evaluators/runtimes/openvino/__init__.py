"""The OpenVINO runtime."""
