"""Models loaded by `transformers` from a folder, an installed package or the hub.

Only safetensors are loaded.
"""

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError

if TYPE_CHECKING:
    import torch

_MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""Files of a hub model that are downloaded: weights, configuration, tokenizer."""


def model_source(spec: WorkloadSpec) -> str:
    """Return the folder of the model, or the hub id if there is no such folder.

    Raises:
        WorkloadError: If `model` looks like a path but does not exist, or its folder has no model.
    """
    folder = spec.path(spec.model)
    if folder.is_dir():
        return str(_checked_folder(folder))
    if packaged := _packaged(spec.model):
        return str(packaged)
    if spec.model.startswith((".", "/", "~")) or spec.model.count("/") != 1:
        raise WorkloadError(
            f"model: {spec.model!r} is neither a folder ({folder}), an installed package that "
            "holds a model, nor a hub id such as 'organisation/name'"
        )
    return spec.model


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise WorkloadError(f"model: {folder} holds no config.json; name the model's own folder")
    if not any(folder.glob("*.safetensors")):
        raise WorkloadError(
            f"model: {folder} holds no .safetensors; convert the weights first "
            "(pickled weights are not loaded, they can run code)"
        )
    return folder


def _packaged(name: str) -> Path | None:
    """Return the model folder inside an installed package, without importing the package."""
    if not name.isidentifier():
        return None
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        return None
    root = Path(next(iter(found.submodule_search_locations)))
    folders = [path.parent for path in root.rglob("*.safetensors")]
    return min((f for f in folders if (f / "config.json").is_file()), default=None, key=_depth)


def _depth(path: Path) -> int:
    return len(path.parts)


def load_auto(spec: WorkloadSpec, auto_class: str) -> "torch.nn.Module":
    """Load a pretrained module in fp32 and eval mode.

    Args:
        spec: The workload.
        auto_class: Name of a `transformers` Auto class.

    Raises:
        WorkloadError: If loading fails, or weights (other than a pooler's) are missing, which
            `transformers` would initialize at random.
    """
    transformers = _transformers()
    import torch

    source = model_source(spec)
    try:
        module, info = getattr(transformers, auto_class).from_pretrained(
            source,
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises many types; all mean a failed load
        raise WorkloadError(f"model: {source} can't be loaded by {auto_class}: {error}") from error
    missing = [key for key in info["missing_keys"] if "pooler" not in key]
    if missing:
        raise WorkloadError(
            f"model: {source} lacks weights that {auto_class} needs (first: {missing[0]}); "
            "is it a model for this task?"
        )
    loaded: torch.nn.Module = module.eval()
    return loaded


def load_config(spec: WorkloadSpec) -> Any:
    """Load the model's configuration; of a model of several parts that of the text part.

    Raises:
        WorkloadError: If loading fails.
    """
    source = model_source(spec)
    try:
        found = _transformers().AutoConfig.from_pretrained(
            source, revision=spec.revision, trust_remote_code=spec.trust_remote_code
        )
    except Exception as error:  # transformers raises many types; all mean a failed load
        raise WorkloadError(f"model: {source} has no usable configuration: {error}") from error
    return found.get_text_config()


def load_generation_config(spec: WorkloadSpec) -> Any:
    """Load the model's defaults of generation; None if it has none."""
    try:
        return _transformers().GenerationConfig.from_pretrained(
            model_source(spec), revision=spec.revision
        )
    except (OSError, ValueError):
        return None


def load_processor(spec: WorkloadSpec, auto_class: str) -> Any:
    """Load the tokenizer or image processor of the model.

    Raises:
        WorkloadError: If loading fails.
    """
    source = model_source(spec)
    try:
        return getattr(_transformers(), auto_class).from_pretrained(
            source, revision=spec.revision, trust_remote_code=spec.trust_remote_code
        )
    except Exception as error:  # transformers raises many types; all mean a failed load
        raise WorkloadError(f"model: {source} has no usable {auto_class}: {error}") from error


def model_files(spec: WorkloadSpec) -> tuple[Path, ...]:
    """Return the model's folder, for the fingerprint; of a hub model the local cache's snapshot.

    Raises:
        WorkloadError: If a hub model is not in the local cache.
    """
    source = model_source(spec)
    if Path(source).is_dir():
        return (Path(source),)
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(source, revision=spec.revision, local_files_only=True)
    except OSError as error:
        raise WorkloadError(f"model: {source} is not in the local hub cache: {error}") from error
    return (Path(snapshot),)


def local_files(spec: WorkloadSpec) -> Path:
    """Return the model's folder; weights and configuration of a hub model are downloaded.

    Raises:
        WorkloadError: If a hub model can't be downloaded.
    """
    source = model_source(spec)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    with suppress(WorkloadError):
        (folder,) = model_files(spec)
        if any(folder.glob("*.safetensors")):
            return folder
    try:
        return Path(
            snapshot_download(source, revision=spec.revision, allow_patterns=list(_MODEL_FILES))
        )
    except (OSError, ValueError) as error:
        raise WorkloadError(f"model: {source} can't be downloaded: {error}") from error


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise WorkloadError("transformers is not installed; pip install 'tunefront[hf]'") from error
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers
