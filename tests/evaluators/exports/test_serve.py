"""What serve.py takes and refuses: every rule, without a server."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators.exports import serve as endpoint
from tunefront.evaluators.exports.serve import Input, Refused, ServedModel, arrays_of

INPUTS = {
    "ids": Input(dtype=np.dtype("int32"), shape=("batch", "sequence"), most=8),
    "mask": Input(dtype=np.dtype("bool"), shape=("batch", "sequence"), most=8),
    "image": Input(dtype=np.dtype("float32"), shape=("batch", 3), most=12),
}
FINE: dict[str, Any] = {
    "ids": [[1, 2], [3, 4]],
    "mask": [[True, True], [True, False]],
    "image": [[1, 2.5, 3], [4, 5, 6]],
}


def arrays(**changed: Any) -> dict[str, np.ndarray]:
    body = {"inputs": {**FINE, **changed}}
    return arrays_of(json.dumps(body).encode(), INPUTS)


def test_lists_become_the_arrays_that_the_model_takes() -> None:
    found = arrays()
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "ids": "int32",
        "mask": "bool",
        "image": "float32",
    }
    np.testing.assert_array_equal(found["image"], np.array(FINE["image"], dtype=np.float32))
    assert list(found) == list(INPUTS)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "the body must be JSON, but Expecting property name"),
        (b'{"inputs": {"ids": [[NaN]]}}', "the body must be JSON, but it holds NaN"),
        (b"[" * 100_000, "the body must be JSON, but maximum recursion"),
        (b"[1]", 'the body must be {"inputs": {name: lists}}; GET /health lists'),
        (b'{"inputs": [1]}', 'the body must be {"inputs": {name: lists}}; GET /health lists'),
        (b'{"inputs": {}}', "the inputs must be ids, image, mask, but are none; GET /health"),
        (b'{"inputs": {"ids": 1}}', "the inputs must be ids, image, mask, but are ids; GET"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(Refused) as refused:
        arrays_of(body, INPUTS)
    assert refused.value.status == 422
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "status", "why"),
    [
        ({"ids": [[1], [2, 3]]}, 422, "inputs.ids: lists must be equally long: "),
        ({"ids": [1, 2]}, 422, "inputs.ids: shape (batch, sequence) is needed, but got (2,)"),
        ({"ids": [[], []]}, 422, "inputs.ids: shape (batch, sequence) is needed, but got (2, 0)"),
        ({"ids": "a word"}, 422, "inputs.ids: shape (batch, sequence) is needed, but got ()"),
        ({"ids": [[1.5, 2]]}, 422, "inputs.ids: whole numbers (int32) are needed in its lists"),
        ({"ids": [["1", "2"]]}, 422, "inputs.ids: whole numbers (int32) are needed in its lists"),
        ({"ids": [[2**40, 1]]}, 422, "inputs.ids: a number is too large for int32"),
        ({"ids": [[2**70, 1]]}, 422, "inputs.ids: whole numbers (int32) are needed in its lists"),
        ({"ids": [[1] * 9]}, 413, "inputs.ids: 9 numbers; 8 are the most"),
        ({"mask": [[1, 0], [1, 1]]}, 422, "inputs.mask: true and false (bool) are needed"),
        ({"image": [[1, 2, None]]}, 422, "inputs.image: numbers (float32) are needed"),
        ({"image": [[1, 2, 1e39]] * 2}, 422, "inputs.image: a number is too large for float32"),
        ({"image": [[1, 2]] * 2}, 422, "inputs.image: shape (batch, 3) is needed, but got (2, 2)"),
        (
            {"image": [[1, 2, 3]]},
            422,
            "inputs.image: shape (batch, 3) is needed, but got (1, 3) (batch is 2 in ids)",
        ),
    ],
)
def test_an_input_that_is_not_as_recorded_is_refused(
    changed: dict[str, Any], status: int, why: str
) -> None:
    with pytest.raises(Refused) as refused:
        arrays(**changed)
    assert (refused.value.status, str(refused.value)[: len(why)]) == (status, why)


async def answer(run: Any, waiting: int = 0) -> bytes:
    served = ServedModel(lambda: "a model", run, INPUTS, waiting)
    return await served.answer(json.dumps({"inputs": FINE}).encode())


def raises(error: Exception) -> Any:
    def run(model: object, inputs: object) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "status", "why"),
    [
        (raises(IndexError("index out of range\nand more")), 422, "take these values: index out"),
        (raises(KeyError()), 422, "the model does not take these values: KeyError"),
        (raises(MemoryError()), 413, "there is not enough memory for a request of this size"),
        (lambda model, inputs: [np.array([np.inf])], 500, "the model's outputs are not finite"),
    ],
)
def test_what_the_model_can_not_do_is_told(run: Any, status: int, why: str) -> None:
    import asyncio

    with pytest.raises(Refused) as refused:
        asyncio.run(answer(run))
    assert refused.value.status == status
    assert why in str(refused.value)


def test_one_thread_runs_the_model_and_few_may_wait() -> None:
    import asyncio
    import threading

    free, threads = threading.Event(), set[int]()

    def load() -> str:
        threads.add(threading.get_ident())
        return "a model"

    def run(model: object, inputs: object) -> list[np.ndarray]:
        threads.add(threading.get_ident())
        free.wait(60)
        return [np.array([1.0])]

    async def four() -> list[object]:
        served = ServedModel(load, run, INPUTS, waiting=1)
        body = json.dumps({"inputs": FINE}).encode()
        asked = [asyncio.ensure_future(served.answer(body)) for _ in range(3)]
        await asyncio.sleep(0.05)
        free.set()
        first = await asyncio.gather(*asked, return_exceptions=True)
        return [*first, await served.answer(body), served.answered]

    one, two, three, four_, answered = asyncio.run(four())
    assert one == two == four_ == b'{"outputs": [[1.0]]}'
    assert isinstance(three, Refused)
    assert (three.status, str(three)) == (503, "too many requests are waiting; try again later")
    assert answered == 3
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_it_imports_nothing_of_ours() -> None:
    source = Path(endpoint.__file__).read_text()
    names = [
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    ]
    assert "fastapi" in names
    assert not [name for name in names if name is None or name.startswith("tunefront")]
