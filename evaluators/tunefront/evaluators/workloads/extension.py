"""The built-in tasks."""

from tunefront.spaces import Extension

_CLASSES = {
    "causal-lm": "causal_lm:CausalLM",
    "text-generation": "text_generation.workload:TextGeneration",
    "text-embedding": "text_embedding:TextEmbedding",
    "text-classification": "text_classification:TextClassification",
    "image-classification": "image_classification:ImageClassification",
    "custom": "custom:Custom",
}
_TRANSFORMERS = (
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
EXTENSIONS = tuple(
    Extension(
        name=task,
        interfaces=frozenset({"generation" if task == "text-generation" else "tensors"}),
        imports={"load": () if task == "custom" else _TRANSFORMERS},
        provides={"workload": f"tunefront.evaluators.workloads.{named}"},
    )
    for task, named in _CLASSES.items()
)
