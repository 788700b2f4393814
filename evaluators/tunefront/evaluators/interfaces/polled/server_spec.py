"""The server of a workload as written: a command with placeholders, or the URL of a running one."""

import os
import re
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from tunefront.spaces import Value, WorkloadError, did_you_mean, show

ServerApi = Literal["completions", "chat"]
"""The part of the OpenAI-compatible interface that is called."""
PromptForm = Literal["tokens", "text"]
"""How prompts are sent to `completions`: as token ids, or as texts that the server tokenizes."""
PORT, MODEL_FOLDER, FOLDER = "port", "model", "folder"
"""Placeholders that every command can have: a free port, the model's folder, the experiment's."""
GIVEN = frozenset({PORT, MODEL_FOLDER, FOLDER})
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """The key `workload.server`.

    Attributes:
        command: The command that starts the server; `{name}` is replaced by the value of the
            choice, `{port}` by a free port, `{model}` by the model's folder, `{folder}` by the
            experiment's. It is not run by a shell. Empty if `url` is given.
        url: Address of a server that runs elsewhere, without `/v1`; empty if `command` is given.
        ready: Path that answers with status 200 as soon as the server is ready.
        api: The part of the interface that is called.
        prompts: How prompts are sent to `completions`.
        start_s: Seconds in which the server must be ready.
        api_key: Name of the environment variable with the key that is sent; none if empty.
        folder: The experiment's folder.

    Raises:
        WorkloadError: If a value is invalid, or the command has no `{port}`.
    """

    command: str = ""
    url: str = ""
    ready: str = "/health"
    api: ServerApi = "completions"
    prompts: PromptForm = "tokens"
    start_s: float = 600.0
    api_key: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        if bool(self.command.strip()) == bool(self.url):
            raise WorkloadError(
                "server: either a command that starts the server or the url of a running one is "
                f"needed, but got {'both' if self.url else 'neither'}"
            )
        self._check_words("api", self.api, get_args(ServerApi))
        self._check_words("prompts", self.prompts, get_args(PromptForm))
        if not self.ready.startswith("/"):
            raise WorkloadError(
                f"server.ready: a path such as /health is needed, but got {self.ready!r}"
            )
        if not self.start_s > 0:
            raise WorkloadError(f"server.start_s: must be above 0 s, but got {self.start_s:g}")
        if self.url:
            self._check_url()
        elif PORT not in self.placeholders:
            raise WorkloadError(
                "server.command: the placeholder {port} is missing: each server gets a free port; "
                "add it, such as `--port {port}`"
            )

    def _check_words(self, name: str, value: str, words: Sequence[str]) -> None:
        if value not in words:
            raise WorkloadError(
                f"server.{name}: unknown value {value!r}{did_you_mean(value, words)}"
            )

    def _check_url(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WorkloadError(
                f"server.url: an address such as http://host:8000 is needed, but got {self.url!r}"
            )
        if parts.username or parts.password:
            raise WorkloadError(
                "server.url: a password in the address would be recorded; name the environment "
                "variable with the key in server.api_key"
            )

    def not_startable(self) -> str:
        """Return why the server can't be started or called from this machine; empty if it can."""
        if self.api_key and not os.environ.get(self.api_key):
            return (
                f"server.api_key: the environment variable {self.api_key} is not set; set it to "
                "the key"
            )
        program = next(iter(self.filled({FOLDER: self.folder})), "")
        if not program or _PLACEHOLDER.search(program) or shutil.which(program):
            return ""
        return (
            f"server.command: there is no program {program!r} on the path; install it, or name it "
            "with its folder, of the experiment `{folder}/...`"
        )

    @property
    def words(self) -> list[str]:
        """The words of the command, split as a shell does, with their placeholders.

        Raises:
            WorkloadError: If a quotation mark is not closed.
        """
        try:
            return shlex.split(self.command)
        except ValueError as error:
            raise WorkloadError(f"server.command: can't be split into words: {error}") from error

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names of the placeholders, in order; other braces are left as they are."""
        found = (name for word in self.words for name in _PLACEHOLDER.findall(word))
        return tuple(dict.fromkeys(found))

    @property
    def chosen(self) -> tuple[str, ...]:
        """The placeholders that choices replace."""
        return tuple(name for name in self.placeholders if name not in GIVEN)

    def declarations(
        self, space: Mapping[str, object], known: Collection[str]
    ) -> dict[str, Mapping[str, object]]:
        """Return the declarations of choices that placeholders name, of the execution stage.

        Args:
            space: The section `space` as written.
            known: Choices of the catalogue, which need no declaration.
        """
        found: dict[str, Mapping[str, object]] = {}
        for name in self.chosen:
            if name in space and name not in known:
                written = space[name]
                if not isinstance(written, Mapping):
                    written = {"values": written if isinstance(written, list) else [written]}
                found[name] = {"stage": "execution", **written}
        return found

    def check_choices(
        self, written: Collection[str], known: Collection[str], general: Collection[str]
    ) -> None:
        """Check that placeholders are choices, and that choices are placeholders.

        Args:
            written: The choices of the experiment.
            known: Choices of the catalogue that a placeholder may name without being written.
            general: Choices that apply to any server without a placeholder.

        Raises:
            WorkloadError: If one is not.
        """
        for name in self.chosen:
            if name not in written and name not in known:
                raise WorkloadError(
                    f"server.command: the placeholder {{{name}}} is no choice of the space"
                    f"{did_you_mean(name, {*written, *known, *GIVEN})}; add it, such as "
                    f"`{name}: {{values: [...]}}`"
                )
        for name in written:
            if name not in self.placeholders and name not in general:
                reason = (
                    f"the command has no placeholder {{{name}}}, so it would have no effect"
                    if self.command
                    else "a server that runs elsewhere can't be given choices"
                )
                raise WorkloadError(f"server: the space has {name}, but {reason}; remove it")

    def filled(self, values: Mapping[str, Value]) -> list[str]:
        """Return the words with values in place of the placeholders.

        A word that becomes empty is left out, so that a choice between a flag and nothing can be
        written as `{flag}` with the values "--flag" and "".
        """
        return [word for word, _ in self.rendered(values) if word]

    def rendered(self, values: Mapping[str, Value]) -> list[tuple[str, tuple[str, ...]]]:
        """Return each word with values in place of its placeholders, and their names."""

        def text(found: re.Match[str]) -> str:
            return show(values[found[1]]) if found[1] in values else found[0]

        return [
            (_PLACEHOLDER.sub(text, word), tuple(_PLACEHOLDER.findall(word))) for word in self.words
        ]
