"""The pages: links lead somewhere, commands and keys are documented, examples are valid."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel
from tests.readme_commands import commands

from tunefront.evaluators import builtin_catalog
from tunefront.search.cli import tunefront
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.experiment.schema import ExperimentSection
from tunefront.spaces import PRESETS, show

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("experiments/*/README.md")),
]
REFERENCE = ROOT / "docs" / "reference"


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", without_code(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if "://" not in target:
            yield target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_console_commands_can_be_parsed(page: Path) -> None:
    for command in commands([page.read_text()]):
        program, *words = shlex.split(command)
        if program == "tunefront":
            name, *arguments = words
            assert name in tunefront.commands, command
            tunefront.commands[name].make_context(name, arguments)


def section_of(page: Path, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page.name} has no section {title!r}"
    return found[1]


@pytest.mark.parametrize("name", tunefront.commands)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = section_of(REFERENCE / "commands.md", name)
    for parameter in tunefront.commands[name].params:
        if isinstance(parameter, click.Option):
            names = [*parameter.opts, *parameter.secondary_opts]
            assert any(f"`{option}" in text for option in names), names


def keys(model: type[BaseModel]) -> Iterator[str]:
    """The keys of the file and of its sections."""
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation)


def test_every_key_choice_and_preset_is_documented() -> None:
    text = (REFERENCE / "experiment-file.md").read_text()
    kinds = builtin_catalog().kinds
    words = {show(word) for kind in kinds.values() for word in kind.words or ()}
    for name in {*keys(ExperimentSection), *kinds, *words, *PRESETS}:
        assert f"`{name}" in text or f" {name}`" in text, name


def experiments() -> Iterator[tuple[Path, str]]:
    """Every whole experiment file that a page shows."""
    for page in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL):
            if block.startswith("name:"):
                yield page, block


@pytest.mark.parametrize(
    ("page", "text"), [pytest.param(page, text, id=named(page)) for page, text in experiments()]
)
def test_experiments_shown_are_valid(page: Path, text: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    assert load_experiment(path).objectives, named(page)
