"""The formats that each runtime can run on a machine.

The rules of a space, `init`, `doctor`, the conformance suite and the tests all use these functions.
"""

from tunefront.spaces.hardware import Hardware

from .runtime import RUNTIMES, Claim


def refusal(runtime: str, claim: Claim, hardware: Hardware, *, device: str = "cpu") -> str | None:
    """Return the reason why a runtime can't run a precision with a quantization here, or None.

    Limits of the runtime are checked before those of the processor. Instruction sets are checked
    for the device `cpu` only. Installed libraries are not checked.
    """
    facts = RUNTIMES[runtime]
    precision, quantization = claim
    if precision not in facts.precisions:
        return f"{runtime} does not compute in {precision}"
    if quantization not in facts.quantizations:
        return f"{runtime} has no {quantization} quantization"
    if claim not in facts.formats:
        return f"{runtime} has no {quantization} quantization in {precision}"
    if device != "cpu":
        return None
    for needed in facts.instructions:
        if needed.word in claim and not hardware.isa & needed.any_of:
            return needed.lack
    return None


def claims(runtime: str, hardware: Hardware, *, device: str = "cpu") -> frozenset[Claim]:
    """Return the pairs of precision and quantization that a runtime can run on this machine."""
    return frozenset(
        claim
        for claim in RUNTIMES[runtime].formats
        if refusal(runtime, claim, hardware, device=device) is None
    )
