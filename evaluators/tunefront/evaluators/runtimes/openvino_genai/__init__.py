"""OpenVINO GenAI: an engine that batches continuously on the CPU."""
