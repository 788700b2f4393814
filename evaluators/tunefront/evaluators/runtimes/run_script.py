"""Lines of an export's run.py that depend on the device. Imports no torch."""

from tunefront.spaces import TF32, Configuration


def tf32_lines(configuration: Configuration) -> str:
    """Return the indented lines of an export's `load` that set TF32; empty on the CPU."""
    if configuration["device"] != "cuda":
        return ""
    on = configuration["precision"] == TF32
    return (
        f"    torch.backends.cuda.matmul.allow_tf32 = {on}\n"
        f"    torch.backends.cudnn.allow_tf32 = {on}\n"
    )


def answer_lines(configuration: Configuration) -> str:
    """Return the indented lines of an export's `run` that call the model and return arrays.

    On a GPU a model can return several tensors.
    """
    if configuration["device"] != "cuda":
        return "        return [model(**given).cpu().numpy()]\n"
    return (
        "        outputs = model(**given)\n"
        "        outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs\n"
        "        return [output.cpu().numpy() for output in outputs]\n"
    )
