"""One template of a message: checked once, rendered for each recipient."""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from functools import lru_cache
from itertools import groupby

from babel.core import UnknownLocaleError
from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from markupsafe import escape

from mailer.errors import TemplateError
from mailer.message.budget import OUTPUT, SOURCE, Budgeted, to_text
from mailer.message.sandbox import Sandbox

_SANDBOXES = {html: Sandbox(html=html) for html in (False, True)}
_ESCAPED = re.compile("[&<>\"']")
_FILE = "<template>"  # what Jinja calls a template without a file


_Pair = tuple[str, str | None]  # a constant text and the variable that follows it


class Template:
    """A parsed template. ``field`` names it in errors.

    names: the variables it uses; excused: those it can do without.
    """

    __slots__ = (
        "_code",
        "_holes",
        "_html",
        "_pairs",
        "_pieces",
        "excused",
        "field",
        "locale",
        "names",
    )

    def __init__(self, field: str, source: str, *, html: bool = False, locale: str = "en") -> None:
        """Parse ``source``, or raise TemplateError with the field and the line."""
        self.field, self.locale, self._html = field, locale, html
        self._code: JinjaTemplate | None = None
        try:
            parsed = _parse(source, html)
        except TemplateSyntaxError as error:
            raise TemplateError(f"{field}, line {error.lineno}: {error.message}") from None
        except (RecursionError, ValueError, SyntaxError, MemoryError, OverflowError):
            raise TemplateError(f"{field}: the template is nested too deeply") from None
        self.names, self.excused, pairs, self._code = parsed
        self._join(pairs)

    def _join(self, pairs: list[_Pair]) -> None:
        """Prepare a plain template: texts, with holes between them to be filled."""
        self._pairs = pairs
        self._pieces = [part for text, _ in pairs for part in (text, "")]
        self._holes = [(2 * place + 1, name) for place, (_, name) in enumerate(pairs) if name]

    @property
    def constant(self) -> str | None:
        """The text, when no variable has a part in it."""
        return None if self._code or self._holes else "".join(self._pieces)

    @property
    def lone(self) -> str | None:
        """The name, when the template is one variable and nothing else."""
        return self._holes[0][1] if len(self._pieces) == 2 and self._holes else None

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text for one recipient.

        Raises TemplateError when a variable is missing or the template does too much work.
        """
        if self._code is not None:
            return self._run(self._code, values)
        pieces = self._pieces.copy()
        for place, name in self._holes:
            try:
                value = values[name]
            except KeyError:
                raise TemplateError(f"{self.field}: {name!r} has no value") from None
            text = value if type(value) is str else self._text(value)
            pieces[place] = escape(text) if self._html and _ESCAPED.search(text) else text
        return "".join(pieces)

    def runs(self) -> list["str | Template"]:
        """The template cut at line ends into constant texts and templates of one line or more.

        A template with any logic in it comes back whole.
        """
        if self._code is not None:
            return [self]
        return [
            self._part([pair for line in group for pair in line])
            if varies
            else "".join(text for line in group for text, _ in line)
            for varies, group in groupby(_lines(self._pairs), key=_varies)
        ]

    def _part(self, pairs: list[_Pair]) -> "Template":
        part = copy(self)
        part._join(pairs)
        return part

    def _text(self, value: object) -> str:
        try:
            return to_text(value)
        except SecurityError as error:
            raise TemplateError(f"{self.field}: {error.message}") from None

    def _run(self, code: JinjaTemplate, values: Mapping[str, object]) -> str:
        context = code.new_context(dict(values))
        assert isinstance(context, Budgeted)  # noqa: S101 - set as the sandbox's context class
        context.locale = self.locale
        try:
            return "".join(_limited(code.root_render_func(context)))
        except Exception:
            try:
                code.environment.handle_exception()  # rewrites the traceback to template lines
            except Exception as error:
                raise TemplateError(self._explain(error)) from None

    def _explain(self, error: Exception) -> str:
        match error:
            case UndefinedError() | SecurityError():
                problem = (error.message or "").replace(" is undefined", " has no value")
            case UnknownLocaleError():
                problem = str(error)
            case _:
                problem = f"cannot be worked out ({type(error).__name__}: {error})"
        return f"{self.field}, line {_line(error)}: {problem}"


def _lines(pairs: list[_Pair]) -> Iterator[list[_Pair]]:
    line: list[_Pair] = []
    for text, name in pairs:
        *ended, rest = text.split("\n")
        for one in ended:
            yield [*line, (one + "\n", None)]
            line = []
        line.append((rest, name))
    yield line


def _varies(line: list[_Pair]) -> bool:
    return any(name for _, name in line)


def _limited(parts: Iterable[str]) -> Iterator[str]:
    left = OUTPUT
    for part in parts:
        left -= len(part)
        if left < 0:
            raise SecurityError("the text grows too long")
        yield part


def _line(error: Exception) -> int:
    trace, line = error.__traceback__, 1
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


_Parsed = tuple[frozenset[str], frozenset[str], list[tuple[str, str | None]], JinjaTemplate | None]


@lru_cache(maxsize=512)
def _parse(source: str, html: bool) -> _Parsed:
    if len(source) > SOURCE:
        raise TemplateSyntaxError(f"longer than {SOURCE:,} characters", 1)
    sandbox = _SANDBOXES[html]
    tree = sandbox.parse(source)
    excused = frozenset(_excused(tree))
    plain = _plain(tree)
    bounded = sandbox.bound(tree)
    names = frozenset(find_undeclared_variables(bounded)) - {"range"}
    if plain is not None:
        return names, excused, plain, None
    code = sandbox.compile(bounded)
    template = sandbox.template_class.from_code(sandbox, code, dict(sandbox.globals))
    return names, excused, [], template


def _plain(tree: nodes.Template) -> list[_Pair] | None:
    """Texts and the names that follow them, when the template is made of nothing else.

    Such a template is joined by hand at a third of the time, with the same result.
    """
    pieces: list[_Pair] = []
    for statement in tree.body:
        if not isinstance(statement, nodes.Output):
            return None
        for node in statement.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append((node.data, None))
            elif isinstance(node, nodes.Name) and node.name != "range":
                pieces.append(("", node.name))
            else:
                return None
    return pieces


def _excused(tree: nodes.Template) -> Iterator[str]:
    """Names that the template gives a default or tests for being there."""
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in ("default", "d") and filtered.node is not None:
            yield from _root(filtered.node)
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined", "none"):
            yield from _root(test.node)
    tests: list[nodes.Node | None] = [one.test for one in tree.find_all(nodes.If)]
    tests += [one.test for one in tree.find_all(nodes.CondExpr)]
    tests += [one.test for one in tree.find_all(nodes.For)]
    tests += [one.left for one in tree.find_all((nodes.Or, nodes.And))]
    for one in tests:
        yield from _truth(one)


def _truth(node: nodes.Node | None) -> Iterator[str]:
    if isinstance(node, nodes.Or | nodes.And):
        yield from _truth(node.left)
        yield from _truth(node.right)
    elif isinstance(node, nodes.Not):
        yield from _truth(node.node)
    else:
        yield from _root(node)


def _root(node: nodes.Node | None) -> Iterator[str]:
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        node = node.node
    if isinstance(node, nodes.Name):
        yield node.name
