"""ONNX Runtime GenAI: generation of text from ONNX graphs that its model builder makes."""
