"""The built-in tasks."""

from tunefront.spaces import Extension

_CLASSES = {
    "causal-lm": "causal_lm:CausalLM",
    "text-embedding": "text_embedding:TextEmbedding",
    "text-classification": "text_classification:TextClassification",
    "image-classification": "image_classification:ImageClassification",
    "custom": "custom:Custom",
}
EXTENSIONS = tuple(
    Extension(name=task, provides={"workload": f"tunefront.evaluators.workloads.{named}"})
    for task, named in _CLASSES.items()
)
