"""What many tests need: a language model of a few thousand weights, and its texts."""

import io
import json
import os
import pickletools
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.generation import LoadSpec

SENTENCE = "the model reads a line of code and writes what the next line of the code may be"
WORDS = tuple(SENTENCE.split())
LONG = ("tests/journey/", "tests/faults/", "tests/search/tracking/", "tests/ray/")
"""Folders whose files take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long files first: the processes that share the files then end at about one time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of the tests' own, shared by the processes that run them; never the user's."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNEFRONT_CACHE", str(folder / "tunefront-cache"))
        patch.setenv("TUNEFRONT_HISTORY", "0")  # no search depends on which ones ran before it
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor-cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_torch() -> None:
    """Tests compute in one thread each: threads that wait for another's part of tiny tensors spin.

    Tasks and candidates set their own number.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def importable_tests() -> Iterator[None]:
    """Processes that tests start find the package `tests`: none imports from its working folder."""
    folders = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(own_cache: None) -> Iterator[None]:
    """A temporary folder of the process's own, with leases of cores that no other test holds.

    Its name is short, because Ray's sockets lie in it, too.
    """
    with (
        tempfile.TemporaryDirectory(prefix="tf", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        patch.setenv("TUNEFRONT_LEASES", f"{folder}/leases")
        yield


@pytest.fixture(scope="session", autouse=True)
def compiles_for_gpus() -> Iterator[None]:
    """Whether this machine could compile for a GPU changes no test about made-up machines."""
    rule = "tunefront.evaluators.runtimes.inductor.extension.lacking_on_gpu"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule, lambda: None)
        yield


@contextmanager
def short_measurements() -> Iterator[None]:
    """Measure exports in one short round; worse figures do not fail a verification."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tunefront.search.deploy.rounds.ROUNDS", 1)
        patched.setattr("tunefront.search.deploy.rounds.ROUND_S", 0.05)
        patched.setattr("tunefront.search.deploy.verify.VERIFY_S", 0.05)
        yield


@pytest.fixture(scope="session")
def lm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model/` (a tiny Llama and its tokenizer), data.jsonl, calibration.jsonl."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("lm")
    texts = [" ".join(WORDS[i % 7 :] + WORDS[: i % 5]) for i in range(24)]
    for name, rows in (("data.jsonl", texts), ("calibration.jsonl", texts[:8])):
        lines = [json.dumps({"text": text}) for text in rows]
        (folder / name).write_text("\n".join(lines) + "\n")
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>", "<pad>"])
    tokenizer.train_from_iterator(texts, trainer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    wrapped.save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="session")
def lm_spec(lm_folder: Path) -> WorkloadSpec:
    """The tiny model as a workload."""
    return WorkloadSpec(
        task="causal-lm",
        model="model",
        folder=str(lm_folder),
        data="data.jsonl",
        calibration="calibration.jsonl",
        max_length=32,
    )


QUESTIONS = tuple(" ".join(WORDS[i % 9 : i % 9 + 3 + i % 4]) for i in range(12))
"""Prompts of the tiny model that generates text."""


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model/` (a tiny Llama with end token and chat template) and prompts.jsonl.

    Its responses depend on the prompts, and its vocabulary has another size than its layers.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chat")
    special = ["<unk>", "<pad>", "<end>", "<user>", "<assistant>"]
    vocabulary = {word: number for number, word in enumerate([*special, *sorted(set(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    )
    wrapped.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    wrapped.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=80,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    rows = [{"prompt": question, "answer": WORDS[i]} for i, question in enumerate(QUESTIONS)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def chat_spec(chat_folder: Path) -> WorkloadSpec:
    """The tiny model as a workload that generates text."""
    return WorkloadSpec(
        task="text-generation",
        model="model",
        folder=str(chat_folder),
        data="prompts.jsonl",
        load=LoadSpec(concurrency=(2,), output_tokens=8),
    )


def parts_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder and, of archives, every member, with its content."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield from _opened(str(path.relative_to(folder)), path.read_bytes())


def _opened(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _opened(f"{name}/{member}", archive.read(member))


def is_pickle(content: bytes) -> bool:
    """Whether it reads as pickle from the first byte to the last, or begins as protocols 2 to 5."""
    last = -1
    try:
        for _, _, place in pickletools.genops(content):
            last = place if place is not None else -1
    except Exception:  # many kinds; each means: no pickle, or one that goes on in another way
        return content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return last == len(content) - 1


@pytest.fixture(scope="session")
def parts_with() -> Callable[[Path, str], list[str]]:
    """The files and members below a folder that hold a text."""

    def search(folder: Path, text: str) -> list[str]:
        return [name for name, content in parts_of(folder) if text.encode() in content]

    return search


@pytest.fixture(scope="session")
def pickled_parts() -> Callable[[Path], list[str]]:
    """The files and members below a folder that are pickles, or hold arrays of pickled objects."""

    def search(folder: Path) -> list[str]:
        return [name for name, content in parts_of(folder) if is_pickle(_values(content))]

    def _values(content: bytes) -> bytes:
        """Numpy's files keep objects as a pickle behind their header."""
        return content[content.find(b"\n") + 1 :] if content[:6] == b"\x93NUMPY" else content

    return search
