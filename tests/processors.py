"""Processors that tests are about, by the instruction sets that number formats depend on.

Two variables, which only tests read:

* `TUNEFRONT_TEST_PROCESSOR` names one of `PROCESSORS`. The conformance suite of the runtimes then
  tries what is claimed there and builds for it, on the processor that this machine has.
* `TUNEFRONT_TEST_EMULATED=1` says beside it that the process really runs on such a processor, as
  under `qemu-x86_64 -cpu Haswell`: /proc/cpuinfo shows the flags of the host there.
"""

import os
from collections.abc import Mapping
from dataclasses import replace

from tunefront.spaces import Hardware, detect_hardware

PROCESSORS: Mapping[str, frozenset[str]] = {
    "avx2": frozenset({"avx2"}),
    "avx2-vnni": frozenset({"avx2", "avx_vnni"}),
    "avx512": frozenset({"avx2", "avx512f"}),
    "avx512-vnni": frozenset({"avx2", "avx512f", "avx512_vnni"}),
    "avx512-bf16": frozenset({"avx2", "avx512f", "avx512_vnni", "avx512_bf16"}),
    "amx": frozenset(
        {"avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
        | {"amx_bf16", "amx_int8"}
    ),
    "arm": frozenset({"asimd"}),
    "arm-bf16": frozenset({"asimd", "asimdhp", "bf16", "i8mm"}),
}


def hardware_with(processor: str) -> Hardware:
    """This machine with another processor's instruction sets."""
    return replace(detect_hardware(), isa=PROCESSORS[processor])


def hardware_under_test() -> Hardware:
    """The machine that the conformance suite builds for."""
    named = os.environ.get("TUNEFRONT_TEST_PROCESSOR")
    return hardware_with(named) if named else detect_hardware()


def running_hardware() -> Hardware:
    """The machine that this process really runs on."""
    emulated = os.environ.get("TUNEFRONT_TEST_EMULATED") == "1"
    return hardware_under_test() if emulated else detect_hardware()
