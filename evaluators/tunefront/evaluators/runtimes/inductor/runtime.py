"""AOTInductor, the ahead-of-time mode of torch.compile: one compiled package (`model.pt2`)."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.interfaces.endpoint import COPY_SHARE, Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.runtimes.base import Built, Deployment, Runtime, Source
from tunefront.evaluators.runtimes.number_format import (
    NumberFormat,
    layer_facts,
    quantization_facts,
)
from tunefront.evaluators.runtimes.run_script import (
    answer_lines,
    by_graphs,
    opened_by,
    tf32_lines,
    with_graphs,
)
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import FP8, Configuration, EvaluationError, Value

from .extension import MAX_AUTOTUNE

if TYPE_CHECKING:
    import torch

PACKAGE_FILE = "model.pt2"
COMPILED_PRECISION = "compiled_precision"
"""Setting of a build for a GPU: the precision of fp32 products in the process that compiled."""
_CONSTANT = re.compile(
    r"constants_info_\[(\d+)\]\."
    r"(dtype = [^;]*cached_torch_dtype_(\w+?)\)?;|data_size = (\d+)|shape = \{([\d, ]*)\}"
    r"|original_fqn = \"([^\"]*)\")"
)
_FP8_TYPE = "float8_e4m3fn"
_QUANTIZED_TYPES = ("int8", _FP8_TYPE)
_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class Inductor(Runtime):
    """AOTInductor: packages load fast, and an export contains the compiled code."""

    name = "inductor"

    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Convert, export and compile the module; batch size and number of threads stay dynamic."""
        import torch

        from tunefront.evaluators.interfaces.torch_tensors import (
            switch_tf32,
            switched_precision,
            tensors,
        )
        from tunefront.evaluators.runtimes.cuda import target_device
        from tunefront.evaluators.runtimes.export_program import converted_program

        wanted, device = NumberFormat.of(configuration), configuration.text("device")
        switch_tf32(wanted.precision, device)
        program, settings = converted_program(source, wanted, device)
        if program.example_inputs is None or wanted.quantized or device != "cpu":
            program._example_inputs = ((), tensors(source.example, target_device(device)))
        tuned = bool(configuration.get(MAX_AUTOTUNE.name))
        if tuned:
            _check_many_multiprocessors()
        options = {"cpp.dynamic_threads": True, "freezing": False, "max_autotune": tuned}
        try:
            with torch.no_grad():
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(folder / PACKAGE_FILE), inductor_configs=options
                )
        except Exception as error:  # the compiler raises many types; all mean: not compilable
            raise EvaluationError(f"inductor: {error}", cause="unsupported") from error
        if device == "cuda":
            # Kernels that are generated hold what the switches were; others ask them when they run.
            compiled = {COMPILED_PRECISION: switched_precision("fp32", device)}
            return {**settings, **compiled, MAX_AUTOTUNE.name: tuned}
        return settings

    def open(self, built: Built, configuration: Configuration) -> TensorEndpoint:
        """Open the package."""
        import torch

        from tunefront.evaluators.interfaces.torch_tensors import switch_tf32
        from tunefront.evaluators.runtimes.cuda import check_cuda

        switch_tf32(configuration.text("precision"), configuration.text("device"))
        torch.set_num_threads(configuration.integer("threads"))
        if configuration.text("device") == "cuda":
            check_cuda()
        return InductorEndpoint(built.folder / PACKAGE_FILE, configuration, built.settings)

    def deployment(self, built: Built, configuration: Configuration) -> Deployment:
        """Return a script that needs torch and numpy only."""
        alone = ", run_single_threaded=True" if by_graphs(configuration) else ""
        opened = f'torch._inductor.aoti_load_package(str(HERE / "{PACKAGE_FILE}"){alone})'
        script = _SCRIPT.format(
            opened=opened_by(configuration, opened),
            device=configuration.text("device"),
            threads=configuration.integer("threads"),
            tf32=tf32_lines(configuration),
            answer=answer_lines(configuration),
        )
        script = with_graphs(configuration, script)
        return Deployment(script=script, requirements=("torch",), compiled=True)


def _check_many_multiprocessors() -> None:
    """Check that Inductor times kernels on this GPU; on small ones it chooses by rules anyway.

    Raises:
        EvaluationError: If it does not (cause "unsupported").
    """
    from torch._inductor.utils import is_big_gpu

    if not is_big_gpu():
        raise EvaluationError(
            "max_autotune: inductor does not time kernels on this GPU, which has too few "
            "multiprocessors; leave max_autotune out",
            cause="unsupported",
        )


class InductorEndpoint(TensorEndpoint):
    """An open package."""

    def __init__(
        self, path: Path, configuration: Configuration, settings: Mapping[str, object]
    ) -> None:
        import torch

        from tunefront.evaluators.runtimes.cuda_graphs import model_by
        from tunefront.evaluators.runtimes.device_copies import call_on

        self._call_on = call_on
        self._settings = settings
        self._compiled = settings.get(COMPILED_PRECISION)
        self._path = path
        self._device = configuration.text("device")
        self._last: Inputs | None = None
        graphs = by_graphs(configuration)
        package = torch._inductor.aoti_load_package(str(path), run_single_threaded=graphs)
        self._model: Any = model_by(configuration, package)

    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request; on a GPU the copies to and from it are included, as in production."""
        self._last = inputs
        return self._call_on(self._device, self._run, inputs)

    def _run(self, given: "Mapping[str, torch.Tensor]") -> Any:
        return self._model(**given)

    def facts(self) -> Facts:
        """Read the properties from the constants and calls in the C++ source inside the package."""
        import torch

        from tunefront.evaluators.runtimes.cuda_graphs import replayed

        source = _wrapper_source(self._path)
        constants = _constants(source)
        matrices = [c for c in constants if c.dimensions >= 2]
        count = sum(c.count for c in matrices)
        quantized = [c for c in matrices if c.dtype in _QUANTIZED_TYPES and min(c.shape) > 1]
        in_fp8 = any(c.dtype == _FP8_TYPE for c in quantized)
        method = "dynamic" if "int_mm" in source else "rtn"
        method = FP8 if in_fp8 and "scaled_mm" in source else method
        floats = {c.name for c in matrices if c.dtype in _PRECISION}
        return {
            "runtime": "inductor",
            "device": self._device,
            "precision": self._read_precision(_precision(constants)),
            **(quantization_facts(8, method) if quantized else quantization_facts()),
            **layer_facts(self._settings, floats, len(quantized)),
            "tensor_parallel": 1,
            "weight_bits": sum(c.bytes * 8 for c in matrices) / max(count, 1),
            "sparsity": 0.0,
            "parameters": count,
            "threads": torch.get_num_threads(),
            "cuda_graphs": replayed(self._model),
            MAX_AUTOTUNE.name: bool(self._settings.get(MAX_AUTOTUNE.name)),
            **self._gpu_facts(),
        }

    def _gpu_facts(self) -> dict[str, Value]:
        """Return where the outputs of the last request are, which is run again, and its copies.

        Empty on a processor.
        """
        if self._device != "cuda" or self._last is None:
            return {}
        from tunefront.evaluators.runtimes.cuda import gpu_facts
        from tunefront.evaluators.runtimes.device_copies import copy_share, devices_of

        devices = devices_of(self._device, self._run, self._last)
        return {
            "device": "/".join(sorted({device.type for device in devices})),
            **gpu_facts(devices),
            COPY_SHARE: round(copy_share(self._device, self._run, self._last), 4),
        }

    def _read_precision(self, weights: str) -> str:
        """Return the precision of what was compiled and of what runs, which must be the same."""
        from tunefront.evaluators.interfaces.torch_tensors import switched_precision

        running = switched_precision(weights, self._device)
        if weights != "fp32" or self._compiled in (None, running):
            return running
        return f"{running}, compiled for {self._compiled}"


class _Constant:
    """A constant of a compiled program: name in the module, type, size in bytes, shape."""

    def __init__(self) -> None:
        self.name = ""
        self.dtype = ""
        self.bytes = 0
        self.shape: tuple[int, ...] = ()

    @property
    def dimensions(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        product = 1
        for size in self.shape:
            product *= size
        return product


def _wrapper_source(path: Path) -> str:
    """Return the generated C++ source, which the package contains."""
    with zipfile.ZipFile(path) as package:
        names = [name for name in package.namelist() if name.endswith(".wrapper.cpp")]
        return "\n".join(package.read(name).decode() for name in names)


def _constants(source: str) -> list[_Constant]:
    found: dict[int, _Constant] = {}
    for match in _CONSTANT.finditer(source):
        constant = found.setdefault(int(match[1]), _Constant())
        if match[3]:
            constant.dtype = match[3]
        elif match[4]:
            constant.bytes = int(match[4])
        elif match[6]:
            constant.name = match[6]
        else:
            constant.shape = tuple(
                int(size) for size in (match[5] or "").split(",") if size.strip()
            )
    return list(found.values())


def _precision(constants: Sequence[_Constant]) -> str:
    """Return the floating-point type with the most bytes.

    Scales of quantized weights are excluded: they are fp32 in any precision.
    """
    sizes: dict[str, int] = {}
    for constant in constants:
        if constant.dtype in _PRECISION and ".parametrizations." not in constant.name:
            name = _PRECISION[constant.dtype]
            sizes[name] = sizes.get(name, 0) + constant.bytes
    return max(sizes, key=lambda name: sizes[name], default="fp32")


_SCRIPT = '''\
"""Runs the exported model on its recorded inputs. Needs torch and numpy, nothing else."""
import pathlib

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent


def load():
    """The model, on as many threads as it was measured with."""
    torch.set_num_threads({threads})
{tf32}    return {opened}


def run(model, inputs):
    """One request: arrays by name in, a list of arrays out."""
    with torch.inference_mode():
        given = {{name: torch.from_numpy(a).to("{device}") for name, a in inputs.items()}}
{answer}'''
