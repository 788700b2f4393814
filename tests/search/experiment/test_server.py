"""The key `workload.server`: a command with placeholders and the choices that replace them."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.search import Experiment, load_experiment
from tunefront.spaces import ExperimentError, Hardware

FILE = f"""\
name: served
workload:
  task: text-generation
  model: ./model
  data: prompts.jsonl
  server:
    command: "{sys.executable} -m engine {{model}} --port {{port}} --seqs {{seqs}} --kv={{kv}}"
space:
  seqs: {{values: [16, 64, 256], changes_outputs: false}}
  kv: [auto, fp8]
objectives: {{output_tokens_per_second: maximize, token_agreement: maximize}}
budget: {{trials: 2}}
"""


@pytest.fixture
def laptop(laptop: Hardware) -> Hardware:
    """A machine with transformers, whose tokenizer is needed."""
    return replace(laptop, libraries={**laptop.libraries, "transformers": "5.3"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(FILE)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a b", "answer": "c"}\n')
    return path


def experiment_of(file: Path, laptop: Hardware, *overrides: str) -> Experiment:
    return load_experiment(file, overrides, hardware=laptop)


def refusal(file: Path, laptop: Hardware, *overrides: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        experiment_of(file, laptop, *overrides)
    return re.sub(r"(?m)^\S*/experiment\.yaml", "FILE", str(caught.value))


def test_placeholders_are_choices_of_the_execution_stage(file: Path, laptop: Hardware) -> None:
    found = experiment_of(file, laptop)
    choices = {choice.name: choice for choice in found.space.choices}
    assert choices["seqs"].values == (16, 64, 256) and choices["seqs"].stage == "execution"
    assert choices["kv"].values == ("auto", "fp8")
    assert choices["runtime"].values == ("server",)
    assert not found.space.catalog.kind("seqs").changes_outputs
    assert found.baseline["seqs"] == 16 and found.baseline["runtime"] == "server"
    enumeration = found.space.enumerate()
    assert len(enumeration.runnable) == 6, enumeration.dropped


def test_the_metrics_need_no_scores(file: Path, laptop: Hardware) -> None:
    metrics = experiment_of(file, laptop).metrics
    assert {"token_agreement", "exact_match"} <= metrics.keys()
    assert not {"perplexity", "kl_divergence"} & metrics.keys()
    message = refusal(file, laptop, "objectives.kl_divergence=minimize")
    assert "a server returns no scores of given tokens" in message


def test_a_declaration_can_name_its_stage(file: Path, laptop: Hardware) -> None:
    found = experiment_of(file, laptop, "space.kv={values: [auto, fp8], stage: runtime}")
    assert found.space.catalog.kind("kv").stage == "runtime"


def test_choices_of_the_catalogue_can_be_placeholders(file: Path, laptop: Hardware) -> None:
    command = f"workload.server.command={sys.executable} --port {{port}} {{threads}} {{max_batch}}"
    found = experiment_of(file, laptop, command, "space={max_batch: [1, 4]}")
    assert [choice.name for choice in found.space.choices] == ["runtime", "max_batch"]


def test_a_running_server_needs_no_choice(file: Path, laptop: Hardware) -> None:
    found = experiment_of(file, laptop, "workload.server={url: 'http://host:8000'}", "space={}")
    assert len(found.space.enumerate().runnable) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [f"workload.server.command={sys.executable} --seqs {{seqs}} {{kv}}"],
            "FILE:2: workload: server.command: the placeholder {port} is missing: each "
            "server gets a free port; add it, such as `--port {port}`",
        ),
        (
            [f"workload.server.command={sys.executable} {{port}} {{seq}} {{kv}}"],
            "FILE:2: workload: server.command: the placeholder {seq} is no choice of the "
            "space; did you mean 'seqs'?; add it, such as `seq: {values: [...]}`",
        ),
        (
            [f"workload.server.command={sys.executable} {{port}} {{kv}}"],
            "FILE:2: workload: server: the space has seqs, but the command has no placeholder "
            "{seqs}, so it would have no effect; remove it",
        ),
        (
            ["workload.server.command=no-such-engine --port {port} {seqs} {kv}"],
            "FILE:2: workload: server.command: there is no program 'no-such-engine' on "
            "the path; install it, or name it with its folder, of the experiment `{folder}/...`",
        ),
        (
            ["workload.server.command='{folder}/engine --port {port} {seqs} {kv}'"],
            "there is no program '",
        ),
        (
            [f"workload.server.command={sys.executable} {{port}} 'open"],
            "server.command: can't be split into words: No closing quotation",
        ),
        (
            ["workload.server.url='http://host:8000'"],
            "server: either a command that starts the server or the url of a running one is "
            "needed, but got both",
        ),
        (
            ["workload.server={ready: /ready}"],
            "server: either a command that starts the server or the url of a running one is "
            "needed, but got neither",
        ),
        (["workload.server.api=chats"], "server.api: unknown value 'chats'; did you mean 'chat'"),
        (["workload.server.prompts=token"], "server.prompts: unknown value 'token'; did you mean"),
        (["workload.server.ready=health"], "server.ready: a path such as /health is needed, but"),
        (["workload.server.start_s=0"], "server.start_s: must be above 0 s, but got 0"),
        (
            ["workload.server.comand=x"],
            "workload.server.comand: unknown key; did you mean 'command'?",
        ),
        (
            ["workload.server={url: 'host:8000'}"],
            "server.url: an address such as http://host:8000 is needed, but got 'host:8000'",
        ),
        (
            ["workload.server={url: 'http://me:secret@host'}"],
            "server.url: a password in the address would be recorded; name the environment",
        ),
        (
            ["workload.server={url: 'http://host:8000'}"],
            "server: the space has seqs, but a server that runs elsewhere can't be given choices",
        ),
        (
            ["workload.server={url: 'http://host:8000', api_key: NO_SUCH_KEY}", "space={}"],
            "server.api_key: the environment variable NO_SUCH_KEY is not set; set it to the key",
        ),
        (
            [
                "workload.server={url: 'http://host:8000'}",
                "space={}",
                "objectives.peak_memory_mb=minimize",
            ],
            "the server of workload.server.url runs elsewhere, so its processes can't be watched",
        ),
        (["space.runtime=[server]"], "space.runtime: the runtime is the server of workload.server"),
        (["baseline.runtime=torch"], "baseline.runtime: the runtime is the server of"),
        (
            ["workload.server={}", "space={runtime: [server]}"],
            "space.runtime: runtime server needs the key workload.server; add it",
        ),
        (["space.precision=[fp32]"], "server: the space has precision, but the command has no"),
        (
            ["workload.task=causal-lm"],
            "workload.server: only tasks that generate text, and http, have it",
        ),
    ],
)
def test_what_is_wrong_is_told(
    file: Path, laptop: Hardware, overrides: list[str], message: str
) -> None:
    assert message in refusal(file, laptop, *overrides)


def test_a_record_is_read_without_the_program(file: Path, laptop: Hardware) -> None:
    from tunefront.search.experiment.document import read_document
    from tunefront.search.experiment.resolver import recorded_experiment

    written = dict(read_document(file, []).values)
    command = "gone --port {port} {seqs} {kv}"
    written["workload"] = {**written["workload"], "server": {"command": command}}
    found = recorded_experiment(written, laptop, file.parent, smoke=False)
    assert found.workload.server is not None and found.workload.server.command == command
