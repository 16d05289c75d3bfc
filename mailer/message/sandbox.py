"""The template language: Jinja2's sandbox, cut down to what is bounded in time and output.

Nothing here watches a clock. Only a short list of constructs is let through, each loop and each
operation that can grow a value pays from a budget, and so the worst template ends by itself.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateAssertionError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from mailer.message.budget import OUTPUT, REPEAT, Budgeted, Missing, size, to_text
from mailer.message.filters import FILTERS, TESTS, concatenate

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name,
    nodes.If, nodes.For, nodes.With, nodes.Assign, nodes.CondExpr,
    nodes.Filter, nodes.Test, nodes.Keyword, nodes.Call,
    nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.List, nodes.Tuple,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
    nodes.Concat,
)  # fmt: skip
_LOOP = frozenset(
    ["index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"]
)
_BIGGEST = 10**30  # numbers beyond are nobody's data, and cost more with every digit


def _counted(context: Budgeted, items: object, cost: int) -> object:
    if isinstance(items, Undefined) or size(items) == 0:
        return items
    if not isinstance(items, list | tuple | str | Mapping):
        raise SecurityError(f"a {type(items).__name__} is no list to loop over")
    return context.counted(items, cost)


def _scalar(context: Budgeted, value: object) -> object:
    # Comparing nested lists can take time exponential in the template's length.
    if isinstance(value, list | tuple | dict):
        raise SecurityError("a list can be tested with 'in' or by itself, but not compared")
    context.look_at(value)
    return value


def _collection(context: Budgeted, value: object) -> object:
    context.look_at(value)
    return value


_INTERNAL = {
    "_counted": pass_context(_counted),
    "_scalar": pass_context(_scalar),
    "_collection": pass_context(_collection),
    "_concatenate": concatenate,
}


class _Bounder(NodeTransformer):
    """Refuses what is not on the list and puts the paying filters in."""

    def visit(self, node: nodes.Node, *args: Any, **options: Any) -> Any:
        if not isinstance(node, _ALLOWED):
            name = type(node).__name__.lower()
            raise TemplateAssertionError(f"'{name}' is not available in messages", node.lineno)
        return super().visit(node, *args, **options)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802 - Jinja's visitor
        if node.node is None or node.name.startswith("_"):
            raise TemplateAssertionError(f"No filter named {node.name!r}.", node.lineno)
        return self.generic_visit(node)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        if node.name in ("self", "super", "caller"):
            raise TemplateAssertionError(f"{node.name!r} is not available", node.lineno)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        if not isinstance(node.node, nodes.Name) or node.node.name != "range":
            raise TemplateAssertionError(
                "only range() can be called; use a filter such as {{ x | upper }}", node.lineno
            )
        if node.dyn_args or node.dyn_kwargs or node.kwargs:
            raise TemplateAssertionError("range() takes one to three numbers", node.lineno)
        return self.generic_visit(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        if node.recursive:
            raise TemplateAssertionError("a loop cannot call itself", node.lineno)
        cost = 1 + sum(1 for _ in node.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _through("_counted", node.iter, nodes.Const(cost))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        first, *others = node.nodes
        return _through("_concatenate", first, *others)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _through("_scalar", node.expr)
        for operand in node.ops:
            within = operand.op in ("in", "notin")
            operand.expr = _through("_collection" if within else "_scalar", operand.expr)
        return node


def _through(name: str, value: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if len(numbers) > REPEAT:
        raise SecurityError(f"range() gives at most {REPEAT:,} numbers")
    return list(numbers)


@pass_context
def _put_out(context: Budgeted, value: object) -> str:
    text = to_text(value)
    context.look_at(text)
    return text


class Sandbox(ImmutableSandboxedEnvironment):
    """No loader, no attributes, no calls, no imports: a template sees its variables alone."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%"])
    context_class = Budgeted

    def __init__(self, *, html: bool) -> None:
        super().__init__(
            autoescape=html, undefined=Missing, finalize=_put_out, optimized=False,
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, cache_size=0,
        )  # fmt: skip
        self.filters = {**FILTERS, **_INTERNAL}
        self.tests = dict(TESTS)
        self.globals = {"range": _range}

    def bound(self, tree: nodes.Template) -> nodes.Template:
        """Return the tree with its costs built in, or raise TemplateAssertionError."""
        bounded: nodes.Template = _Bounder().visit(tree)
        return bounded

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj
        if isinstance(obj, Mapping) and isinstance(argument, str):
            return obj.get(argument, self.undefined(obj=obj, name=argument))
        if isinstance(obj, list | tuple | str) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else None
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        for value in (left, right):
            if isinstance(value, Undefined):
                to_text(value)
        context.look_at(left, right)
        if operator == "*" and isinstance(left, str) and isinstance(right, int):
            return _repeated(left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return left + right if len(left) + len(right) <= OUTPUT else _too_much()
        return self.binop_table[operator](_number(left, operator), _number(right, operator))


def _repeated(text: str, times: int) -> str:
    if len(text) * times > REPEAT:
        raise SecurityError(f"a text can be repeated to {REPEAT:,} characters at most")
    return text * times


def _number(value: object, operator: str) -> Any:
    if not isinstance(value, int | float | Decimal):
        raise SecurityError(f"'{operator}' needs numbers, not {type(value).__name__}")
    return value if -_BIGGEST < value < _BIGGEST else _too_much()


def _too_much() -> NoReturn:
    raise SecurityError("the template does too much work")
