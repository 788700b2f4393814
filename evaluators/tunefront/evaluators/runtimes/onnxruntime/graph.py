"""Export of a module to an ONNX graph, once for all builds of the module."""

from pathlib import Path

from tunefront.evaluators.runtimes.base import Source
from tunefront.spaces import EvaluationError

SHARED_GRAPH_FILE = "graph.onnx"


def onnx_graph(source: Source) -> Path:
    """Return the path of the fp32 .onnx graph that all builds of this module share.

    Raises:
        EvaluationError: If the module can't be exported (cause "unsupported").
    """
    return source.shared("onnx", lambda folder: _export(source, folder)) / SHARED_GRAPH_FILE


def _export(source: Source, folder: Path) -> None:
    import torch

    from tunefront.evaluators.runtimes.export_program import export_program

    program = export_program(source.module(), source)
    try:
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[spec.name for spec in source.inputs],
            output_names=["output"],
            verbose=False,
        )
    except Exception as error:  # the exporter raises many types; all mean: not exportable
        raise EvaluationError(f"torch.onnx.export: {error}", cause="unsupported") from error
    if exported is None:
        raise EvaluationError("torch.onnx.export returned nothing", cause="unsupported")
    exported.save(folder / SHARED_GRAPH_FILE)
