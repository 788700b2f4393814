"""The built-in tasks."""

from tunefront.spaces import Extension

_CLASSES = {
    "causal-lm": "causal_lm:CausalLM",
    "text-generation": "text_generation.workload:TextGeneration",
    "text-embedding": "text_embedding:TextEmbedding",
    "text-classification": "text_classification:TextClassification",
    "image-classification": "image_classification:ImageClassification",
    "custom": "custom:Custom",
    "http": "http.workload:HttpService",
}
_INTERFACES = {"text-generation": "generation", "http": "http"}
"""The interface of a task where it is not `tensors`."""
_WITHOUT_TRANSFORMERS = ("custom", "http")
_TRANSFORMERS = (
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
EXTENSIONS = tuple(
    Extension(
        name=task,
        interfaces=frozenset({_INTERFACES.get(task, "tensors")}),
        imports={"load": () if task in _WITHOUT_TRANSFORMERS else _TRANSFORMERS},
        provides={"workload": f"tunefront.evaluators.workloads.{named}"},
    )
    for task, named in _CLASSES.items()
)
