"""What each runtime claims on a machine: the one place that decides it.

The rules of a space, `init`, `doctor`, the conformance suite and the tests all ask these functions.
"""

from tunefront.spaces.hardware import Hardware

from .runtime import RUNTIMES, Claim


def refusal(runtime: str, claim: Claim, hardware: Hardware, *, device: str = "cpu") -> str | None:
    """Return why a runtime does not run a precision with a quantization here, or None.

    What the runtime never does comes before what this processor lacks. Instruction sets count on
    the device `cpu` only. Whether libraries are installed is not looked at.
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
    """Return the pairs of precision and quantization that a runtime runs on this machine."""
    return frozenset(
        claim
        for claim in RUNTIMES[runtime].formats
        if refusal(runtime, claim, hardware, device=device) is None
    )
