"""The task that probes a GPU: a small product, whose result is known."""

from tunefront.spaces import EvaluationError


def probe_gpu(size: int) -> None:
    """Multiply on the GPU that this process sees.

    Args:
        size: Rows and columns of the factors, at most 256: then every sum is exact.

    Raises:
        EvaluationError: If the product is wrong (cause "device"); errors of CUDA are raised as they
            are.
    """
    import torch

    ones = torch.ones(size, size, device="cuda")
    total = float((ones @ ones).sum())
    if total != size**3:
        raise EvaluationError(f"a product has the sum {total:g}, not {size**3}", cause="device")
