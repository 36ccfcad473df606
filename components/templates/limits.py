"""The limits of a rendering: a chat template is compiled so that loops, calls and texts count against a budget.

Who wrote a template may have written one that never ends, or fills memory, on certain conversations alone. Jinja's
sandbox limits neither, so the counting is put into the template's syntax tree, as filters around what can grow. (What
compiling itself would compute is tried by `budget.py` before.)
"""

# ruff: noqa: N802 - the visitor's methods are named after Jinja's nodes
import re
import threading
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.environment import Template
from jinja2.exceptions import TemplateError
from jinja2.visitor import NodeTransformer

from components.templates._transformers_jinja import compile_template

MAX_ROUNDS = 5_000_000
"""Rounds of loops in one rendering: about a second. A loop over all turns in each of 2,000 turns has 4 M."""
CALL_ROUNDS = 10
"""What a call, or a filter, counts: it takes as long as some rounds."""
MAX_CHARACTERS = 500_000_000
"""Characters of all texts that one rendering makes on its way."""
MAX_NUMBER = 1_000_000
"""Largest number that a filter or a method takes, as the width of a text."""
_WIDE = re.compile(r"%[^a-zA-Z%]*(\d{7}|\*)")
"""A %-format with a width of more than MAX_NUMBER, or of an argument."""
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


def _spend(rounds: int = 0, characters: int = 0) -> None:
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
    if not hasattr(values, "__len__"):
        values = list(values)
    _spend(rounds=len(values))
    return values


@pass_context
def _call(_: Any, value: Any) -> Any:
    """Return what a call or a filter gave, counted."""
    _spend(CALL_ROUNDS, len(value) if isinstance(value, str) else 0)
    return value


@pass_context
def _text(_: Any, value: Any) -> Any:
    """Return a value whose text is counted."""
    if isinstance(value, str):
        _spend(characters=len(value))
    return value


@pass_context
def _number(_: Any, value: Any) -> Any:
    """Return an argument of a filter or method that is no large number."""
    if isinstance(value, int) and value > MAX_NUMBER:
        raise TemplateError(f"the chat template uses the number {value:,} as an argument")
    return value


@pass_context
def _product(_: Any, left: Any, right: Any) -> Any:
    for values, times in ((left, right), (right, left)):
        if isinstance(times, int) and hasattr(values, "__len__"):
            _spend(characters=len(values) * max(times, 0))
    return left * right


@pass_context
def _power(_: Any, left: Any, right: Any) -> Any:
    if abs(right) > 1000 or abs(left) > MAX_NUMBER:
        raise TemplateError(f"the chat template computes {left} ** {right}")
    return left**right


@pass_context
def _remainder(_: Any, left: Any, right: Any) -> Any:
    if isinstance(left, str) and _WIDE.search(left):
        raise TemplateError("the chat template formats a text of great width")
    return left % right


_FILTERS = {f"counted{f.__name__}": f for f in (_rounds, _call, _text, _number, _product, _power, _remainder)}


class _Counting(NodeTransformer):
    """Puts the filters of this file around the nodes of a template that can grow."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _rounds)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        fixed = (nodes.TemplateData, nodes.Const)
        node.nodes = [part if isinstance(part, fixed) else _filtered(part, _text) for part in node.nodes]
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        return _filtered(self._with_small_arguments(node), _call)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        self._with_small_arguments(node)
        return node if _is_of_block(node) else _filtered(node, _call)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        self._with_small_arguments(node.call)  # a block needs its call as it is
        node.body = [self.visit(part) for part in node.body]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        return _filtered(self.generic_visit(node), _text)

    def visit_Add(self, node: nodes.Add) -> nodes.Node:
        return _filtered(self.generic_visit(node), _text)

    def visit_Mul(self, node: nodes.Mul) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node.left, _product, node.right)

    def visit_Pow(self, node: nodes.Pow) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node.left, _power, node.right)

    def visit_Mod(self, node: nodes.Mod) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node.left, _remainder, node.right)

    def _with_small_arguments(self, node: Any) -> Any:
        self.generic_visit(node)
        node.args = [_small(argument) for argument in node.args]
        for keyword in node.kwargs:
            keyword.value = _small(keyword.value)
        return node


def _filtered(node: Any, function: Any, *arguments: Any) -> Any:
    filtered = nodes.Filter(node, f"counted{function.__name__}", list(arguments), [], None, None)
    return filtered.set_lineno(node.lineno).set_environment(node.environment)


def _small(argument: nodes.Expr) -> nodes.Expr:
    is_small = isinstance(argument, nodes.Const) and not (
        isinstance(argument.value, int) and argument.value > MAX_NUMBER
    )
    return argument if is_small else _filtered(argument, _number)


def _is_of_block(node: Any) -> bool:
    """Return whether a filter is that of a block (`{% filter upper %}`), which has no node to filter."""
    while isinstance(node, nodes.Filter):
        node = node.node
    return node is None
