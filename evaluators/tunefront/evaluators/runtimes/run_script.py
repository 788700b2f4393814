"""Lines of an export's run.py that depend on the device. Imports no torch."""

from tunefront.evaluators.interfaces.source_bundle import bundle
from tunefront.spaces import TF32, Configuration
from tunefront.spaces.catalog.execution import CUDA_GRAPHS

_GRAPHED = "tunefront.evaluators.runtimes.cuda_graphs:GraphedModel"


def by_graphs(configuration: Configuration) -> bool:
    """Return whether requests are run by CUDA graphs; exports can be older than the choice."""
    return bool(configuration.get(CUDA_GRAPHS.name, CUDA_GRAPHS.default))


def opened_by(configuration: Configuration, model: str) -> str:
    """Return an expression for the model of an export, by CUDA graphs if so configured."""
    return f"GraphedModel({model})" if by_graphs(configuration) else model


def with_graphs(configuration: Configuration, script: str) -> str:
    """Return a script with the code of `GraphedModel` before `load`, if it is used."""
    if not by_graphs(configuration):
        return script
    head, load = script.split("\n\n\ndef load()", 1)
    docstring, imports = head.split('"""\n', 1)
    head = f'{docstring}"""\nfrom __future__ import annotations\n\n{imports}'
    return f"{head}\n\n{bundle([_GRAPHED])}\n\n\ndef load(){load}"


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
