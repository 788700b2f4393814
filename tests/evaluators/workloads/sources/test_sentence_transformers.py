"""Folders that sentence-transformers saved: every pooling mode, further modules, refusals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file

from tunefront.evaluators.workloads.sources.encoder_modules import Pooling, built_modules
from tunefront.evaluators.workloads.sources.sentence_transformers import (
    MEAN,
    POOLING_MODES,
    encoder_settings,
)
from tunefront.spaces import WorkloadError

OLD, NEW = "sentence_transformers.models", "sentence_transformers.sentence_transformer.modules"


def saved(
    folder: Path,
    modules: Sequence[tuple[str, Mapping[str, Any]]],
    prefix: str = NEW,
    **files: Mapping[str, Any],
) -> str:
    """A folder with modules after the transformer; `files` are JSON files below it."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{prefix}.Transformer"}]
    for place, (name, settings) in enumerate(modules, start=1):
        path = folder / f"{place}_{name}"
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(settings))
        listed.append(
            {"idx": place, "name": str(place), "path": path.name, "type": f"{prefix}.{name}"}
        )
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


def plain_pooling(
    mode: str, states: npt.NDArray[Any], mask: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """The same by a loop over the texts, as sentence-transformers defines it."""
    rows = []
    for state, kept in zip(states, mask, strict=True):
        tokens = state[: int(kept.sum())]
        weights = np.arange(1, len(tokens) + 1)
        rows.append(
            {
                "cls": tokens[0],
                "max": tokens.max(0),
                "mean": tokens.mean(0),
                "mean_sqrt_len_tokens": tokens.sum(0) / np.sqrt(len(tokens)),
                "weightedmean": (tokens * weights[:, None]).sum(0) / weights.sum(),
                "lasttoken": tokens[-1],
            }[mode]
        )
    return np.stack(rows)


@pytest.mark.parametrize("modes", [*((mode,) for mode in POOLING_MODES), ("cls", "mean")])
def test_every_pooling_mode_is_as_defined(modes: tuple[str, ...]) -> None:
    random = np.random.default_rng(0)
    states = random.normal(size=(3, 5, 4)).astype(np.float32)
    mask = (np.arange(5) < np.array([[5], [1], [3]])).astype(np.int64)
    found = Pooling(modes)(torch.from_numpy(states), torch.from_numpy(mask)).numpy()
    expected = np.concatenate([plain_pooling(mode, states, mask) for mode in modes], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "modes"),
    [
        ({"pooling_mode": "cls"}, ("cls",)),
        ({"pooling_mode": ["cls", "max"]}, ("cls", "max")),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"word_embedding_dimension": 32}, ("mean",)),
    ],
)
def test_pooling_is_read_from_old_and_new_files(
    settings: Mapping[str, Any], modes: tuple[str, ...], tmp_path: Path
) -> None:
    (pooling,) = encoder_settings(saved(tmp_path, [("Pooling", settings)])).modules
    assert pooling.pooling == modes
    assert encoder_settings(str(tmp_path / "nowhere")).modules[0].pooling == MEAN.pooling


def test_modules_after_the_pooling_are_applied(tmp_path: Path) -> None:
    dense = {
        "in_features": 4,
        "out_features": 3,
        "activation_function": "torch.nn.modules.activation.ReLU",
    }
    folder = saved(
        tmp_path,
        [("Pooling", {"pooling_mode": "mean"}), ("Dense", dense), ("Normalize", {})],
        prefix=OLD,
    )
    weight = torch.arange(12.0).reshape(3, 4) - 5
    weights = {"linear.weight": weight, "linear.bias": torch.ones(3)}
    save_file(weights, tmp_path / "2_Dense" / "model.safetensors")
    pooling, *more = built_modules(encoder_settings(folder).modules)
    states = torch.ones(1, 2, 4)
    vector = pooling(states, torch.ones(1, 2, dtype=torch.int64))
    for module in more:
        vector = module(vector)
    expected = torch.relu(torch.ones(4) @ weight.T + 1)
    torch.testing.assert_close(vector[0], expected / expected.norm())


def test_length_case_and_prompt_are_read(tmp_path: Path) -> None:
    found = encoder_settings(
        saved(
            tmp_path,
            [("Pooling", {})],
            sentence_bert_config={"max_seq_length": 128, "do_lower_case": True},
            config_sentence_transformers={
                "prompts": {"query": "query: "},
                "default_prompt_name": "query",
            },
        )
    )
    assert (found.max_length, found.lower_case, found.prompt) == (128, True, "query: ")


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([("Pooling", {}), ("CNN", {})], r"module .*\.CNN is not supported, only Pooling, Dense"),
        ([("WeightedLayerPooling", {})], r"module .*\.WeightedLayerPooling is not supported"),
        ([("Normalize", {})], "a Pooling must follow the Transformer"),
        ([], "a Pooling must follow the Transformer"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    modules: Sequence[tuple[str, Mapping[str, Any]]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(WorkloadError, match=message):
        encoder_settings(saved(tmp_path, modules))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Pooling", {"pooling_mode": "median"}, "pooling 'median' is not supported, only cls"),
        ("Dense", {"in_features": 4, "out_features": 2}, "holds no model.safetensors"),
        (
            "Dense",
            {"in_features": 4, "out_features": 2, "activation_function": "os.system"},
            "activation_function must be a class of torch.nn, but is 'os.system'",
        ),
        (
            "Normalize",
            {"module_input_name": "token_embeddings"},
            "module_input_name must be sentence_embedding, but is 'token_embeddings'",
        ),
    ],
)
def test_a_module_that_can_not_be_built_is_refused(
    name: str, settings: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    first = [] if name == "Pooling" else [("Pooling", dict[str, Any]())]
    folder = saved(tmp_path, [*first, (name, settings)])
    with pytest.raises(WorkloadError, match=message):
        built_modules(encoder_settings(folder).modules)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, [("Pooling", {}), ("LayerNorm", {"dimension": 4})])
    save_file({"norm.weight": torch.ones(3)}, tmp_path / "2_LayerNorm" / "model.safetensors")
    with pytest.raises(WorkloadError, match=r"does not fit its config\.json"):
        built_modules(encoder_settings(folder).modules)
