"""YAML of experiment files: small, shallow, and without aliases of lists and mappings.

PyYAML reads about 100 kB/s and puts no bound on nesting or on what aliases expand to. The bounds
here are far above what an experiment needs, and keep every refusal below a second.
"""

import re
from typing import Any

import yaml

LARGEST_BYTES = 64 * 1024
"""Largest experiment file."""
MOST_NESTED = 32
"""Largest number of nested lists and mappings."""
INTEGERS = range(-(2**63), 2**63)
"""The whole numbers that a file can hold: those of 64 bits, which every library converts."""
LONGEST_INTEGER = 100
"""Most characters of a whole number; Python refuses to convert thousands of digits."""
SHOWN = 60
"""Most characters of a refused value in an error message."""
_INTEGER_TAG = "tag:yaml.org,2002:int"
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that no file name and no UTF-8 text can hold."""


class RefusedYaml(yaml.MarkedYAMLError):
    """Valid YAML that breaks a rule of experiment files."""


def parse_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Parse a document; return its node, which has the lines, and its value.

    Raises:
        yaml.YAMLError: If it is not YAML.
        RefusedYaml: If it breaks a rule of experiment files.
    """
    loader = _Loader(text)
    root = loader.get_single_node()
    return root, None if root is None else loader.construct_document(root)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with bounds; errors of values have their line."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node unless it is nested too deeply, or repeats a list or a mapping."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        repeated = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise _refused(f"lists and mappings can be nested {MOST_NESTED} deep, not deeper", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if repeated and not isinstance(node, yaml.ScalarNode):
            raise _refused("an alias can repeat a single value, not a list or a mapping", mark)
        if isinstance(node, yaml.ScalarNode) and (found := _UNUSABLE.search(node.value)):
            raise _refused(f"a text can't hold the character {found[0]!r}", mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; whole numbers beyond 64 bits are refused."""
        if node.tag == _INTEGER_TAG and len(node.value) > LONGEST_INTEGER:
            raise _beyond_64_bits(node)
        try:
            value = super().construct_object(node, deep=deep)
        except ValueError as error:  # e.g. a day that does not exist
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
        except (AttributeError, IndexError, KeyError) as error:  # a tag that the text does not fit
            problem = f"{str(node.value)[:SHOWN]!r} does not fit the tag {node.tag!r}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error
        if isinstance(value, int) and value not in INTEGERS:
            raise _beyond_64_bits(node)
        return value


def _refused(rule: str, mark: yaml.Mark) -> RefusedYaml:
    return RefusedYaml(problem=rule, problem_mark=mark)


def _beyond_64_bits(node: yaml.Node) -> RefusedYaml:
    written = str(node.value)
    shown = written if len(written) <= SHOWN else f"{written[:SHOWN]}..."
    rule = f"a whole number of at most 64 bits is needed, but got {shown}"
    return _refused(rule, node.start_mark)
