"""Settings in folders of sentence-transformers: modules after the transformer, prompt, length.

The files are those that sentence-transformers 2 to 6 write. https://sbert.net
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunefront.spaces import WorkloadError

POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Ways to make one vector of the tokens' vectors; several are concatenated in this order."""
_OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Flags of versions before 6."""
ModuleKind = Literal["Pooling", "Dense", "LayerNorm", "Normalize"]
_SUPPORTED: Mapping[str, ModuleKind | None] = {
    "Pooling": "Pooling",
    "Dense": "Dense",
    "LayerNorm": "LayerNorm",
    "Normalize": "Normalize",
    "Dropout": None,  # has no effect at inference
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderModule:
    """A module after the transformer.

    Attributes:
        kind: Its class.
        folder: Folder with its weights.
        settings: Its configuration.
    """

    kind: ModuleKind
    folder: Path = Path()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pooling(self) -> tuple[str, ...]:
        """The pooling modes, `mean` if none is named.

        Raises:
            WorkloadError: If a mode is unknown.
        """
        written = self.settings.get("pooling_mode")
        if written is None:
            written = [mode for name, mode in _OLD_POOLING.items() if self.settings.get(name)]
        modes = (written,) if isinstance(written, str) else tuple(written)
        for mode in modes:
            if mode not in POOLING_MODES:
                raise WorkloadError(
                    f"model: {self.folder}: pooling {mode!r} is not supported, only "
                    f"{', '.join(POOLING_MODES)}"
                )
        return modes or ("mean",)


MEAN = EncoderModule(kind="Pooling")
"""Mean pooling, for models without such files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """How texts become vectors.

    Attributes:
        modules: Modules after the transformer, in order.
        max_length: Maximum length of a text in tokens; None if there is none.
        lower_case: Whether texts are converted to lower case.
        prompt: Text before every text.
    """

    modules: Sequence[EncoderModule] = (MEAN,)
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""


def encoder_settings(source: str) -> EncoderSettings:
    """Return the settings of a model's folder; mean pooling without such files.

    Raises:
        WorkloadError: If the folder names a module that is not supported.
    """
    folder = Path(source)
    listed = _read(folder / "modules.json", [])
    if not listed:
        only = folder / "1_Pooling" / "config.json"
        pooling = EncoderModule(kind="Pooling", folder=only.parent, settings=_read(only, {}))
        return EncoderSettings(modules=(pooling,))
    transformer = _read(folder / "sentence_bert_config.json", {})
    own = _read(folder / "config_sentence_transformers.json", {})
    prompt = (own.get("prompts") or {}).get(own.get("default_prompt_name") or "", "")
    modules = _modules(folder, listed)
    if prompt and any(module.settings.get("include_prompt") is False for module in modules):
        raise WorkloadError(
            f"model: {folder}: a default prompt that pooling leaves out is not supported; set "
            "default_prompt_name to null in config_sentence_transformers.json"
        )
    return EncoderSettings(
        modules=modules,
        max_length=transformer.get("max_seq_length"),
        lower_case=bool(transformer.get("do_lower_case")),
        prompt=str(prompt),
    )


def _modules(folder: Path, listed: Sequence[Mapping[str, str]]) -> tuple[EncoderModule, ...]:
    first, *rest = sorted(listed, key=lambda one: int(one.get("idx", 0)))
    if _class(first) != "Transformer" or first.get("path"):
        raise WorkloadError(
            f"model: {folder}/modules.json: the first module must be a Transformer in the folder "
            f"itself, but is {first.get('type')} in {first.get('path') or 'the folder'!r}"
        )
    found: list[EncoderModule] = []
    for one in rest:
        name = _class(one)
        if name not in _SUPPORTED:
            raise WorkloadError(
                f"model: {folder}/modules.json: module {one.get('type')} is not supported, only "
                f"{', '.join(_SUPPORTED)}; use task custom for this model"
            )
        if (kind := _SUPPORTED[name]) is not None:
            place = folder / one.get("path", "")
            settings = _read(place / "config.json", {}) if one.get("path") else {}
            found.append(EncoderModule(kind=kind, folder=place, settings=settings))
    if not found or found[0].kind != "Pooling":
        raise WorkloadError(
            f"model: {folder}/modules.json: a Pooling must follow the Transformer, so that a text "
            "has one vector"
        )
    return tuple(found)


def _class(module: Mapping[str, str]) -> str:
    return str(module.get("type", "")).rsplit(".", 1)[-1]


def _read(path: Path, missing: Any) -> Any:
    """Return the content of a JSON file; `missing` if there is none."""
    if not path.is_file():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WorkloadError(f"model: {path} is not JSON: {error}") from error
