"""Tensor parallelism: ranks share every matrix by torch.distributed (NCCL, or gloo on the CPU).

The sharding plan is the architecture's plan in `transformers` (`base_model_tp_plan`). Rank 0 is the
process that opens the candidate; it starts the other ranks and broadcasts every request to them.
Requests are broadcast in host memory by gloo, where a rank that waits sleeps; a broadcast by NCCL
would keep a core and the GPU of each waiting rank busy.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.interfaces.torch_tensors import (
    DTYPES,
    NAME_OF,
    switch_tf32,
    switched_precision,
)
from tunefront.evaluators.runtimes.base import Deployment, Source
from tunefront.evaluators.runtimes.cuda import gpu_facts
from tunefront.evaluators.runtimes.device_copies import host_arrays
from tunefront.evaluators.runtimes.run_script import tf32_lines
from tunefront.evaluators.runtimes.weights import WeightStatistics, total
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.modules import token_scores
from tunefront.spaces import NOT_QUANTIZED, Configuration, EvaluationError, detect_hardware
from tunefront.spaces.machine.topology import Core, by_node

from .ranks import RankProcesses, rendezvous_folder, run_rank

if TYPE_CHECKING:
    from torch.distributed.tensor.parallel import ParallelStyle

WEIGHTS = "weights"
_TIMEOUT = timedelta(minutes=5)
_INPUTS = ("input_ids", "attention_mask")


def save_shardable(source: Source, folder: Path) -> Mapping[str, object]:
    """Save the unsharded pretrained model; every rank shards it when it opens it.

    Raises:
        EvaluationError: If `transformers` has no tensor-parallel plan (cause "unsupported").
    """
    model: Any = source.pretrained()
    if model is None or not getattr(model.config, "base_model_tp_plan", None):
        named = type(source.module() if model is None else model).__name__
        raise EvaluationError(
            f"{named} has no tensor-parallel plan in transformers", cause="unsupported"
        )
    model.save_pretrained(folder / WEIGHTS)
    return {}


class ShardedEndpoint(TensorEndpoint):
    """Rank 0 of a model that is sharded over several processes."""

    def __init__(self, folder: Path, configuration: Configuration) -> None:
        self._ranks = configuration.integer("tensor_parallel")
        self._failed = False
        threads = configuration.integer("threads")
        precision, device = configuration.text("precision"), configuration.text("device")
        self._rendezvous = rendezvous_folder()
        meeting = Path(self._rendezvous.name, "store")
        cores = _cores_by_rank(self._ranks, device)
        self._others = RankProcesses(
            [
                [
                    *(sys.executable, "-P", "-m"),
                    "tunefront.evaluators.runtimes.torch.tensor_parallel",
                    *(str(folder), str(meeting), str(rank), str(self._ranks)),
                    *(precision, device, str(threads)),
                    ",".join(map(str, cores[rank * threads : (rank + 1) * threads])),
                ]
                for rank in range(1, self._ranks)
            ],
            meeting.parent,
        )
        if len(cores) >= self._ranks * threads:
            os.sched_setaffinity(0, cores[:threads])
        self._device = _device(device, 0)
        try:
            whole = _load(folder, 0, precision, device, threads)
            self._others.wait_until_ready()
            self._model = _join(whole, meeting, 0, self._ranks, self._device)
        except BaseException:
            try:
                self._others.explain()
            finally:
                self._others.kill()
                self._rendezvous.cleanup()
            raise

    def call(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request: broadcast it to all ranks and return this rank's output.

        Raises:
            EvaluationError: If another rank is lost.
        """
        try:
            return self._answer(inputs)
        except RuntimeError:  # the lost connection to another rank has a cause there
            self._failed = True
            self._others.explain()
            raise

    def _answer(self, inputs: Inputs) -> Sequence[Array]:
        ids, mask = (torch.from_numpy(inputs[name]) for name in _INPUTS)
        _broadcast_shape((ids.shape[0], ids.shape[1]))
        return host_arrays(_forward(self._model, ids, mask, self._device))

    def facts(self) -> Facts:
        """Read the properties from this rank's shards; `parameters` counts all ranks.

        Raises:
            EvaluationError: If no matrix is sharded (cause "not applied").
        """
        from torch.distributed.tensor import DTensor

        matrices = [p for p in self._model.parameters() if p.ndim >= 2]
        local = [p.to_local() if isinstance(p, DTensor) else p for p in matrices]
        if not any(isinstance(p, DTensor) for p in matrices):
            raise EvaluationError("no matrix is shared among the ranks", cause="not applied")
        device = local[0].device
        statistics = total(
            WeightStatistics(
                count=t.numel(), bits=t.numel() * t.element_size() * 8, zeros=int((t == 0).sum())
            )
            for t in local
        )
        return {
            "runtime": "torch",
            "device": device.type,
            "precision": switched_precision(NAME_OF[local[0].dtype], device.type),
            "quantization_bits": NOT_QUANTIZED,
            "tensor_parallel": dist.get_world_size(),
            "weight_bits": statistics.weight_bits,
            "sparsity": statistics.sparsity,
            "parameters": sum(p.numel() for p in matrices),
            "threads": torch.get_num_threads(),
            **gpu_facts(torch.device(device.type, rank) for rank in range(dist.get_world_size())),
        }

    def close(self) -> None:
        """End the other ranks; after an error they are killed."""
        if self._failed or self._others.lost:
            self._others.kill()
        else:
            self._others.expect_end()
            _broadcast_shape((0, 0))
            self._others.wait()
            dist.destroy_process_group()
        self._rendezvous.cleanup()


def _device(kind: str, rank: int) -> torch.device:
    return torch.device("cuda", rank) if kind == "cuda" else torch.device("cpu")


def _cores_by_rank(ranks: int, device: str) -> Sequence[int]:
    """Return this process's cores in equal parts for each rank, near its GPU if it has one."""
    cores = sorted(os.sched_getaffinity(0))
    if device == "cpu":
        return cores
    near = [gpu.cpus for gpu in detect_hardware().gpus[:ranks]]
    single = [Core(number=core, cpus=(core,)) for core in cores]
    return [core.number for core in by_node(single, near)]


def _load(
    folder: Path, rank: int, precision: str, device_kind: str, threads: int
) -> torch.nn.Module:
    """Load the whole model into host memory; on a GPU this process uses the rank's from here on."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    switch_tf32(precision, device_kind)
    if device_kind == "cuda":
        torch.cuda.set_device(rank)  # else every rank would have a context on the first GPU
    auto: Any = AutoModelForCausalLM
    whole: torch.nn.Module = auto.from_pretrained(
        folder / WEIGHTS, dtype=DTYPES[precision], use_safetensors=True
    ).eval()
    return whole


def _join(
    model: torch.nn.Module, meeting: Path, rank: int, ranks: int, device: torch.device
) -> torch.nn.Module:
    """Join the process group and shard the model for this rank."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import parallelize_module

    dist.init_process_group(
        backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=ranks,
        timeout=_TIMEOUT,
    )
    mesh = init_device_mesh(device.type, (ranks,))
    parallelize_module(model.to(device), mesh, _plan(model))
    return model


def _plan(model: torch.nn.Module) -> "dict[str, ParallelStyle]":
    """Return the architecture's plan as torch styles; modules without a known style stay whole."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel

    styles = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}
    prefix = str(model.base_model_prefix)
    written: Mapping[str, str] = model.config.base_model_tp_plan  # type: ignore[union-attr,assignment]
    return {
        f"{prefix}.{name}": styles[style]() for name, style in written.items() if style in styles
    }


def _broadcast_shape(shape: tuple[int, int]) -> tuple[int, int]:
    tensor = torch.tensor(shape, dtype=torch.int64)
    dist.broadcast(tensor, src=0)
    rows, columns = tensor.tolist()
    return int(rows), int(columns)


def _forward(
    model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, device: torch.device
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Return the logits in fp32; on a GPU what is needed of them, as `ScoresModule` does."""
    dist.broadcast(ids, src=0)
    dist.broadcast(mask, src=0)
    ids, mask = ids.to(device), mask.to(device)
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return logits.float() if device.type == "cpu" else token_scores(logits, ids, mask)


def _serve(arguments: Sequence[str]) -> None:
    """Run the forward passes of rank 0 in another rank, until rank 0 sends the shape (0, 0)."""
    folder, meeting, rank, ranks, precision, device_kind, threads, cores = arguments
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    device = _device(device_kind, int(rank))

    def body(ready: Callable[[], None]) -> None:
        whole = _load(Path(folder), int(rank), precision, device_kind, int(threads))
        ready()
        model = _join(whole, Path(meeting), int(rank), int(ranks), device)
        while (shape := _broadcast_shape((0, 0))) != (0, 0):
            empty = torch.from_numpy(np.zeros(shape, dtype=np.int64))
            _forward(model, empty, empty.clone(), device)
        dist.destroy_process_group()

    run_rank(Path(meeting).parent, int(rank), body)


RANK_SCRIPT = '''\
"""Runs the exported model on its recorded inputs, shared by {ranks} processes.

Start it with: torchrun --nproc-per-node {ranks} run.py. Needs torch, transformers and numpy.
"""
import atexit
import os
import pathlib
import sys

import numpy as np
import torch
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent


def load():
    """This process's share of the model; the first of the processes is the one that speaks."""
    torch.set_num_threads({threads})
{own_gpu}{tf32}    torch.distributed.init_process_group("{backend}")
    atexit.register(torch.distributed.destroy_process_group)
    if torch.distributed.get_rank() > 0:
        sys.stdout = open(os.devnull, "w")
    model = AutoModelForCausalLM.from_pretrained(
        HERE / "weights", dtype=torch.{dtype}, use_safetensors=True
    )
    styles = {{"colwise": ColwiseParallel, "rowwise": RowwiseParallel}}
    plan = {{model.base_model_prefix + "." + k: styles[v]() for k, v in
            model.config.base_model_tp_plan.items() if v in styles}}
    mesh = torch.distributed.init_device_mesh("{device}", ({ranks},))
    parallelize_module(model.eval().to(_device()), mesh, plan)
    return model


def run(model, inputs):
    """One request in every process: arrays by name in, a list of arrays out."""
    given = {{name: torch.from_numpy(array).to(_device()) for name, array in inputs.items()}}
    with torch.no_grad():
{answer}

def _device():
    rank = torch.distributed.get_rank()
    return "{device}" if "{device}" == "cpu" else "cuda:" + str(rank)
'''


_OWN_GPU = """\
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
"""
_LOGITS = """\
        return [model(**given, use_cache=False).logits.float().cpu().numpy()]
"""
_SCORES = """\
        logits = model(**given, use_cache=False).logits.float()
        following, known = (
            torch.nn.functional.pad(given[name][:, 1:], (0, 1))
            for name in ("input_ids", "attention_mask")
        )
        picked = logits.gather(-1, following.unsqueeze(-1)).squeeze(-1)
        scores = (picked - logits.logsumexp(-1)) * known
        return [scores.cpu().numpy(), logits.argmax(-1).cpu().numpy()]
"""


def sharded_deployment(configuration: Configuration) -> Deployment:
    """Return the script that each of the processes runs, without tunefront."""
    device, ranks = configuration.text("device"), configuration.integer("tensor_parallel")
    script = RANK_SCRIPT.format(
        ranks=ranks,
        threads=configuration.integer("threads"),
        device=device,
        own_gpu=_OWN_GPU if device == "cuda" else "",
        tf32=tf32_lines(configuration),
        answer=_LOGITS if device == "cpu" else _SCORES,
        backend="nccl" if device == "cuda" else "gloo",
        dtype=str(DTYPES[configuration.text("precision")]).removeprefix("torch."),
    )
    return Deployment(
        script=script,
        requirements=("torch", "transformers"),
        not_served=f"{ranks} processes share this model, and one that serves HTTP can't start "
        f"them; `torchrun --nproc-per-node {ranks} run.py` runs it",
    )


if __name__ == "__main__":
    _serve(sys.argv[1:])
