"""Resolution of the sections `space`, `baseline` and `current`."""

from collections.abc import Mapping
from dataclasses import dataclass

from tunefront.evaluators.interfaces.generation import ServerSpec
from tunefront.evaluators.runtimes.server.extension import NAME as SERVER
from tunefront.evaluators.runtimes.server.extension import SETTINGS, TRANSLATED
from tunefront.spaces import (
    PRESETS,
    Catalog,
    Choice,
    Configuration,
    Context,
    SearchSpace,
    SpaceError,
    Value,
    WorkloadError,
    did_you_mean,
    preset_space,
)
from tunefront.spaces.catalog.runtime import RUNTIME

from .file import ExperimentFile


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceResolver:
    """Resolver of the search space and of the configurations that the file names.

    Attributes:
        file: The experiment file.
        server: The server of the workload; None if it has none.
    """

    file: ExperimentFile
    server: ServerSpec | None

    def space(self, catalog: Catalog, declared: Mapping[str, Mapping[str, object]]) -> SearchSpace:
        """Return the search space."""
        written = dict(self.file.section.space)
        for name, one in declared.items():
            written[name] = {key: one[key] for key in ("values", "when") if key in one}
        if self.server is not None:
            self._check_server(self.server)
            written[RUNTIME.name] = SERVER
        if (preset := written.pop("preset", None)) is not None:
            if not isinstance(preset, str) or preset not in PRESETS:
                raise self.file.fail(
                    ["space", "preset"],
                    f"unknown preset {preset!r}{did_you_mean(str(preset), PRESETS)}",
                )
            written = {**preset_space(preset, catalog, self.file.hardware), **written}
        choices = [self._choice(catalog, "space", name, values) for name, values in written.items()]
        named = {choice.name for choice in choices}
        # Choices that only the baseline sets have that value in every trial.
        for name, value in self.file.section.baseline.items():
            if name not in named:
                choices.append(self._choice(catalog, "baseline", name, [value]))
        if self.server is None and any(
            one.name == RUNTIME.name and SERVER in one.values for one in choices
        ):
            text = f"runtime {SERVER} needs the key workload.server; add it"
            raise self.file.fail(["space", RUNTIME.name], text)
        context = Context(
            hardware=self.file.hardware,
            task=self.file.section.workload.task,
            parallel_on_cpu=self.file.section.allow_parallel_on_cpu,
        )
        try:
            return SearchSpace(choices=tuple(choices), context=context, catalog=catalog)
        except SpaceError as error:
            raise self.file.fail(["space"], str(error).removeprefix("space: ")) from error

    def _check_server(self, server: ServerSpec) -> None:
        """Refuse a written runtime, and choices without a placeholder in the server's command."""
        space, baseline = self.file.section.space, self.file.section.baseline
        for section, written in (("space", space), ("baseline", baseline)):
            if RUNTIME.name in written:
                text = "the runtime is the server of workload.server; remove the key"
                raise self.file.fail([section, RUNTIME.name], text)
        try:
            server.check_choices([*space, *baseline], TRANSLATED, SETTINGS)
        except WorkloadError as error:
            raise self.file.fail(["workload"], error) from error

    def _choice(self, catalog: Catalog, section: str, name: str, written: object) -> Choice:
        try:
            choice = catalog.kind(name).choice(written)
            for condition in choice.when:
                if condition.choice in catalog.kinds:  # SearchSpace rejects unknown choices
                    for operand in condition.operands:
                        catalog.kind(condition.choice).check(operand)
            return choice
        except SpaceError as error:
            message = str(error).removeprefix("space: ").removeprefix(f"{name}: ")
            raise self.file.fail([section, name], message) from error

    def baseline(self, space: SearchSpace) -> Configuration:
        """Return the baseline."""
        return self._given(space, "baseline", self.file.section.baseline)

    def current(self, space: SearchSpace) -> Configuration | None:
        """Return the current settings, which can lie outside the listed values; None if absent."""
        written = self.file.section.current
        if written is None:
            return None
        searched = {choice.name for choice in space.choices}
        for name in written:
            if name in space.catalog.kinds and name not in searched:
                raise self.file.fail(
                    ["current", name], "the space does not have this choice; add it to space"
                )
        return self._given(space, "current", written)

    def _given(self, space: SearchSpace, key: str, written: Mapping[str, object]) -> Configuration:
        """Return the configuration that a key describes."""
        values: dict[str, Value] = {}
        for name, value in written.items():
            try:
                values[name] = space.catalog.kind(name).check(value)
            except SpaceError as error:
                message = str(error).removeprefix(f"{name}: ")
                raise self.file.fail([key, name], message) from error
        given = space.member(values)
        if not self.file.recorded and (reason := space.obstacle(given)):
            raise self.file.fail([key], f"can't run here: {reason} ({given.label()})")
        return given

    def concurrent_trials(self, space: SearchSpace, baseline: Configuration) -> int:
        """Return one for each GPU if trials use any; else half the cores: others stay free."""
        listed = [choice.values for choice in space.choices if choice.name == "device"]
        devices = {value for values in listed for value in values}
        devices.add({**space.defaults(), **baseline}["device"])
        gpus = len(self.file.hardware.gpus) if "cuda" in devices else 0
        return gpus or max(1, self.file.hardware.leasable_cores // 2)
