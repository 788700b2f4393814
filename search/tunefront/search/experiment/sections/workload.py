"""Resolution of the section `workload`: model, data, load, server, and the catalogue."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from tunefront.evaluators import (
    Direction,
    WorkloadSpec,
    builtin_catalog,
    catalog_of,
    prepared_folder,
)
from tunefront.evaluators.interfaces.generation import Generation, LoadSpec, ServerSpec, slo_of
from tunefront.evaluators.interfaces.http import Http, RequestTemplate
from tunefront.evaluators.workloads.spec import CUSTOM, HTTP
from tunefront.search.experiment.document import slug_of
from tunefront.search.experiment.experiment import Prepare
from tunefront.spaces import (
    Catalog,
    ExperimentError,
    SpaceError,
    WorkloadError,
    declared_kind,
    did_you_mean,
    is_declaration,
)

from .file import ExperimentFile

PREPARED = "${prepared}"
"""Placeholder for the output folder of `prepare`, for paths in the workload section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadResolver:
    """Resolver of the workload and of what it depends on.

    Attributes:
        file: The experiment file.
    """

    file: ExperimentFile

    def prepare(self) -> Prepare | None:
        """Return the script that creates model and data; None if there is none."""
        if self.file.section.prepare is None:
            return None
        script = self.file.document.path.parent / self.file.section.prepare
        if not script.is_file():
            raise self.file.fail(["prepare"], f"{script} does not exist; name a Python script")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        key = sha256(script.read_bytes() + version.encode()).hexdigest()[:12]
        folder = prepared_folder() / f"{slug_of(self.file.section.name)}-{key}"
        return Prepare(script=script, folder=folder)

    def server(self) -> ServerSpec | None:
        """Return the server of the workload; None if it has none."""
        written = self.file.section.workload.server.model_dump(exclude_none=True)
        if not written:
            return None
        try:
            server = ServerSpec(**written, folder=str(self.file.document.path.parent.absolute()))
        except WorkloadError as error:
            raise self.file.fail(["workload"], error) from error
        if not self.file.recorded and (problem := server.not_startable()):
            raise self.file.fail(["workload"], problem)
        return server

    def declared(self, server: ServerSpec | None) -> dict[str, Mapping[str, object]]:
        """Return the choices that the experiment declares, also by placeholders of a command."""
        space = self.file.section.space
        declared = {n: one for n, one in space.items() if is_declaration(one)}
        if server is not None:
            declared |= server.declarations(space, {*builtin_catalog().kinds, *declared})
        return declared

    def _extensions(self) -> tuple[str, ...]:
        """Return the absolute paths of the extension files."""
        folder = self.file.document.path.parent.absolute()
        return tuple(str(folder / written) for written in self.file.section.extensions)

    def catalog(self, declared: Mapping[str, Mapping[str, object]]) -> Catalog:
        """Return the catalogue with the experiment's extensions and declared choices."""
        try:
            added = catalog_of(self._extensions())
        except (ExperimentError, SpaceError) as error:
            message = str(error).removeprefix("extensions: ")
            raise self.file.fail(["extensions"], message) from error
        for name in declared:
            if name in added.kinds:
                raise self.file.fail(
                    ["space", name],
                    f"{name} is a choice of the catalogue and has its stage; list its values, or "
                    "declare the choice under another name",
                )
        for name, written in declared.items():
            try:
                declared_kind(name, written)
            except SpaceError as error:
                message = str(error).removeprefix(f"{name}: ")
                raise self.file.fail(["space", name], message) from error
        return catalog_of(self._extensions(), declared)

    def workload(
        self,
        prepare: Prepare | None,
        catalog: Catalog,
        declared: Mapping[str, Mapping[str, object]],
        server: ServerSpec | None,
    ) -> WorkloadSpec:
        """Return the workload."""
        fields = self.file.section.workload.model_dump()
        if (task := fields["task"]) not in (tasks := catalog.tasks):
            raise self.file.fail(
                ["workload", "task"], f"unknown value {task!r}{did_you_mean(task, tasks)}"
            )
        for name in ("model", "data", "calibration"):
            if isinstance(fields[name], str) and PREPARED in fields[name]:
                if prepare is None:
                    raise self.file.fail(
                        ["workload", name], f"{PREPARED} needs a script below the key prepare"
                    )
                fields[name] = fields[name].replace(PREPARED, str(prepare.folder))
        if isinstance(fields["data"], str):
            fields["data"] = os.path.expanduser(fields["data"])
        fields["direction"] = self._direction()
        if isinstance(quality := fields["quality"], dict):
            fields["quality"], fields["quality_command"] = None, quality["command"]
        self._check_loaded(catalog, task)
        self._check_called(task)
        load = fields.pop("load")
        fields |= {"server": server, "model": fields["model"] or ""}
        fields["response"] = fields["response"] or ""
        try:
            fields["request"] = self._request()
            fields["slo"] = slo_of(fields["slo"])
            return WorkloadSpec(
                load=LoadSpec(**load) if any(v not in (None, ()) for v in load.values()) else None,
                **fields,
                folder=str(self.file.document.path.parent.absolute()),
                extensions=self._extensions(),
                declared=declared,
            )
        except WorkloadError as error:
            raise self.file.fail(["workload"], error) from error

    def _request(self) -> RequestTemplate | None:
        """Return the template of requests over HTTP; None if it is not written."""
        written = self.file.section.workload.request.model_dump(exclude_unset=True)
        return RequestTemplate(**{"path": "", **written}) if written else None

    def _check_called(self, task: str) -> None:
        """Refuse a missing model, which only `http` can do without, and keys that it can't use."""
        workload = self.file.section.workload
        if task != HTTP and workload.model is None:
            raise self.file.fail(["workload", "model"], "this key is needed, but it is missing")
        for name in ("api", "prompts") if task == HTTP else ():
            if getattr(workload.server, name) is not None:
                raise self.file.fail(
                    ["workload", "server", name],
                    f"requests of task {task} are those of workload.request; remove the key",
                )

    def _check_loaded(self, catalog: Catalog, task: str) -> None:
        """Refuse a load, an SLO or a server of a task whose requests are not sent under a load."""
        interfaces = catalog.extension(task).interfaces
        loaded = interfaces & {Generation.name, Http.name}
        if loaded and "workload" in catalog.extension(task).provides:
            return
        keys = {"load", "slo", "server"}
        written = self.file.section.workload.model_dump(include=keys, exclude_defaults=True)
        for key, values in written.items():
            if values:
                raise self.file.fail(
                    ["workload", key],
                    f"only tasks that generate text, and {HTTP}, have it, but the task is {task}; "
                    "remove the key",
                )

    def _direction(self) -> Direction:
        """Return the direction of an own metric: as written, or as objective or limit imply."""
        section = self.file.section
        name = section.workload.metric
        own = section.workload.task == CUSTOM or section.workload.quality is not None
        if section.workload.direction is not None or not own:
            return section.workload.direction or "maximize"
        if name in section.objectives:
            return section.objectives[name]
        limit = str(section.limits.get(name, "")).strip()
        if limit[:2] in ("<=", ">="):
            return "minimize" if limit.startswith("<=") else "maximize"
        raise self.file.fail(
            ["workload", "direction"],
            f"is missing: write minimize or maximize, whichever is better for {name}, which is "
            "neither an objective nor a limit",
        )

    def check_used(self, catalog: Catalog, task: str) -> None:
        """Refuse choices that the task's pipeline does not apply."""
        if (used := catalog.used_by(task)) is None:
            return
        for key in ("space", "baseline", "current"):
            for name in getattr(self.file.section, key) or ():
                if name not in used:
                    listed = ", ".join(sorted(used)) or "none"
                    raise self.file.fail(
                        [key, name], f"task {task} does not apply this choice; it applies {listed}"
                    )
