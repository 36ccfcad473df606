"""The limits of a rendering: a chat template is compiled so that its loops, calls and texts count against a budget.

Who wrote a template may have written one that never ends, or fills memory, on certain conversations alone. Jinja's
sandbox limits neither, so the counting is put into the template's syntax tree, as filters around what can grow; texts
stay as they are. What a single filter or method does is not counted, and what compiling itself would compute is tried
by `budget.py` before.
"""

# ruff: noqa: N802 - the visitor's methods are named after Jinja's nodes
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.environment import Template
from jinja2.exceptions import TemplateError
from jinja2.visitor import NodeTransformer

from components.templates._transformers_jinja import compile_template

MAX_ROUNDS = 2_000_000
"""Rounds of loops, and texts that are put out, in one rendering: a few seconds. A loop over all turns in each of 1,400
turns has 2 M."""
CALL_ROUNDS = 10
"""What a call, or a filter, counts: it takes as long as some rounds."""
MAX_CHARACTERS = 500_000_000
"""Characters of all texts, and entries of all lists, that one rendering makes on its way."""
MAX_BITS = 1_000_000
"""Of a whole number that is computed."""
_spent = threading.local()


def compile_limited(source: str) -> Template:
    """Return a template of transformers' sandbox whose rendering raises TemplateError beyond the limits of this file.

    Call `begin` before each rendering.

    Raises:
        TemplateSyntaxError: the source is no template.
    """
    environment: Any = compile_template("").environment
    environment.filters.update(_FILTERS)
    tree = _Counting().visit(environment.parse(source))
    code = environment.compile(tree)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def begin() -> None:
    """Begin a rendering in this thread, with nothing spent."""
    _spent.rounds = _spent.characters = 0


def _spend(rounds: int, characters: int = 0) -> None:
    _spent.rounds += rounds
    _spent.characters += characters
    if _spent.rounds > MAX_ROUNDS:
        raise TemplateError(f"the chat template takes more than {MAX_ROUNDS:,} steps for this conversation")
    if _spent.characters > MAX_CHARACTERS:
        raise TemplateError(f"the chat template makes more than {MAX_CHARACTERS:,} characters of this conversation")


# Filters with the context are never computed while a template is compiled.
@pass_context
def _rounds(_: Any, values: Any) -> Any:
    """Return what a loop goes through, counted."""
    if hasattr(values, "__len__"):
        _spend(len(values))
        return values
    return _one_by_one(values)


def _one_by_one(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _spend(1)
        yield value


@pass_context
def _call(_: Any, value: Any) -> Any:
    """Return what a call or a filter gave, counted."""
    _spend(CALL_ROUNDS, _size(value))
    return value


@pass_context
def _value(_: Any, value: Any) -> Any:
    """Return a value whose text is counted."""
    _spend(1, _size(value))
    return value


@pass_context
def _product(_: Any, left: Any, right: Any) -> Any:
    """Return `left * right`, whose size is known before."""
    if isinstance(left, int) and isinstance(right, int):
        _require_bits(left.bit_length() + right.bit_length())
    for values, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(values, (str, list, tuple)):
            _spend(1, len(values) * max(times, 0))
    return left * right


@pass_context
def _power(_: Any, left: Any, right: Any) -> Any:
    """Return `left ** right`, whose size is known before."""
    if isinstance(left, int) and isinstance(right, int):
        _require_bits(left.bit_length() * max(right, 0))
    return left**right


def _require_bits(bits: int) -> None:
    if bits > MAX_BITS:
        raise TemplateError("the chat template computes a number of more than a million bits")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


_FILTERS = {f"counted{function.__name__}": function for function in (_rounds, _call, _value, _product, _power)}


class _Counting(NodeTransformer):
    """Puts the filters of this file around the nodes of a template that can grow."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _rounds)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        fixed = (nodes.TemplateData, nodes.Const)
        node.nodes = [part if isinstance(part, fixed) else _filtered(part, _value) for part in node.nodes]
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.node, nodes.Name) and node.node.name == "loop":  # of a recursive loop
            node.args = [_filtered(argument, _rounds) for argument in node.args]
        return _filtered(node, _call)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        self.generic_visit(node)
        return node if _is_of_block(node) else _filtered(node, _call)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node.call)  # a block needs its call as it is
        node.body = [self.visit(part) for part in node.body]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        return _filtered(self.generic_visit(node), _value)

    def visit_Add(self, node: nodes.Add) -> nodes.Node:
        self.generic_visit(node)
        for side in ("left", "right"):  # a long sum is counted once
            term = getattr(node, side)
            if isinstance(term, nodes.Filter) and term.name == "counted_value":
                setattr(node, side, term.node)
        return _filtered(node, _value)

    def visit_Mul(self, node: nodes.Mul) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node.left, _product, node.right)

    def visit_Pow(self, node: nodes.Pow) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node.left, _power, node.right)


def _filtered(node: Any, function: Any, *arguments: Any) -> Any:
    filtered = nodes.Filter(node, f"counted{function.__name__}", list(arguments), [], None, None)
    return filtered.set_lineno(node.lineno).set_environment(node.environment)


def _is_of_block(node: Any) -> bool:
    """Return whether a filter is that of a block (`{% filter upper %}`), which has no node to filter."""
    while isinstance(node, nodes.Filter):
        node = node.node
    return node is None
