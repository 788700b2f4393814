"""What compiling for a GPU needs is found on the machine, and named where it is missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.runtimes.inductor import extension, requirements
from tunefront.evaluators.runtimes.inductor.requirements import (
    HEADERS,
    compiler,
    cuda_home,
    gpu_requirements,
    lacking_on_gpu,
    links_with,
)
from tunefront.spaces import Context, Gpu, Hardware

CATALOG = builtin_catalog()
NEEDED = ["Triton", "a C++ compiler", "the headers of CUDA", "libcuda.so to link with"]


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    gpu_requirements.cache_clear()
    yield
    gpu_requirements.cache_clear()


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolkit with headers, a compiler, Triton, and a linker that finds everything."""
    for name in HEADERS:
        (tmp_path / "include" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "include" / name).touch()
    (tmp_path / "lib64" / "stubs").mkdir(parents=True)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(requirements, "_triton", lambda: "/triton/__init__.py")
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(requirements, "links_with", lambda library, folders: True)
    return tmp_path


def missing() -> list[str]:
    return [one.name for one in gpu_requirements() if not one.found]


def test_all_is_found_where_all_is_there(toolkit: Path) -> None:
    assert [one.name for one in gpu_requirements()] == NEEDED
    assert missing() == []
    assert lacking_on_gpu() is None


@pytest.mark.parametrize("place", range(4))
def test_what_is_missing_is_named_with_what_to_do(
    toolkit: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    if place == 0:
        monkeypatch.setattr(requirements, "_triton", lambda: "")
    elif place == 1:
        monkeypatch.setattr("shutil.which", lambda name: None)
    elif place == 2:
        (toolkit / "include" / HEADERS[1]).unlink()
    else:
        monkeypatch.setattr(requirements, "links_with", lambda library, folders: False)
    assert missing() == [NEEDED[place]]
    (remedy,) = (one.remedy for one in gpu_requirements() if not one.found)
    assert lacking_on_gpu() == f"inductor on a GPU needs {NEEDED[place]}; {remedy}"


def test_the_toolkit_is_looked_for_where_torch_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "_DEFAULT_HOME", tmp_path / "default")
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert cuda_home() is None
    (tmp_path / "default").mkdir()
    assert cuda_home() == tmp_path / "default"
    monkeypatch.setattr("shutil.which", lambda name: "/opt/cuda/bin/nvcc")
    assert cuda_home() == Path("/opt/cuda")
    monkeypatch.setenv("CUDA_PATH", "/path")
    assert cuda_home() == Path("/path")
    monkeypatch.setenv("CUDA_HOME", "/home")
    assert cuda_home() == Path("/home")


def test_libraries_are_looked_for_in_the_toolkit_and_its_stubs(
    toolkit: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[str, Sequence[Path]]] = []
    monkeypatch.setattr(requirements, "links_with", lambda *given: bool(seen.append(given)))
    assert missing() == [NEEDED[3]]
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "missing"))
    gpu_requirements.cache_clear()
    assert missing() == NEEDED[2:]
    assert seen == [("cuda", [toolkit / "lib64", toolkit / "lib64" / "stubs"]), ("cuda", [])]


def test_a_library_is_linked_by_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert links_with("m", [])
    assert not links_with("no_such_library", [])
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler() == "no-such-compiler"
    assert not links_with("m", [])


def reason(gpus: int, **values: str) -> str | None:
    """The reason of the rule about the compiler."""
    gpu = Gpu(name="Made-up GPU", memory_mb=1, capability=(9, 0))
    context = Context(
        hardware=Hardware(cpu="Made-up CPU", cores=1, memory_mb=1, gpus=(gpu,) * gpus),
        task="causal-lm",
    )
    (rule,) = (rule for rule in CATALOG.rules if rule.name == "compiler")
    return rule.reason(context, *(values[name] for name in rule.choices))


def test_only_inductor_on_a_gpu_needs_them(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_triton", lambda: "")
    monkeypatch.setattr(extension, "lacking_on_gpu", lacking_on_gpu)
    told = "inductor on a GPU needs Triton; install triton in the version that torch needs"
    assert reason(1, runtime="inductor", device="cuda") == told
    assert reason(1, runtime="inductor", device="cpu") is None
    assert reason(1, runtime="torch", device="cuda") is None
    assert reason(0, runtime="inductor", device="cuda") is None
