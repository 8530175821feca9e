"""Who computes: pixels in, probabilities or features out, by PyTorch or by ONNX Runtime."""
