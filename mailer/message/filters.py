"""The filters and tests that templates have. Each costs no more than its input is long."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import wraps
from typing import Any
from urllib.parse import quote

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal
from jinja2 import Undefined, pass_context
from jinja2.exceptions import SecurityError
from markupsafe import Markup, escape

from mailer.message.budget import OUTPUT, Budgeted, to_text

_DATE_STYLES = ("short", "medium", "long", "full")
_PATTERN = re.compile(r"[^\x00-\x1f]{1,60}")
_MOST_DIGITS = 12


def _on_text(change: Callable[..., str]) -> Callable[..., str]:
    """Make a filter from text to text of ``change``. Text that is escaped already stays so."""

    @pass_context
    @wraps(change)
    def call(context: Budgeted, value: object, *args: Any, **options: Any) -> str:
        text = to_text(value)
        result = change(text, *args, **options)
        context.look_at(text, result)
        return result

    return call


def default(value: object, fallback: object = "") -> object:
    """``fallback`` where the recipient has nothing: no column, None or an empty text."""
    return fallback if isinstance(value, Undefined) or value is None or value == "" else value


def _truncate(text: str, length: int = 80, end: str = "…") -> str:
    return text if len(text) <= length else text[: max(0, length - len(end))].rstrip() + end


def _replace(text: str, old: str, new: str) -> str:
    if len(text) + text.count(old) * len(new) > OUTPUT:
        raise SecurityError("the template does too much work")
    return text.replace(old, new)


@pass_context
def _nl2br(context: Budgeted, value: object) -> str:
    text = to_text(value)
    context.look_at(text)
    if not context.eval_ctx.autoescape:
        return text
    return Markup("<br>\n").join(escape(text).splitlines())


@pass_context
def _join(context: Budgeted, items: object, separator: str = "") -> str:
    return _joined(context, separator, _listed(items))


@pass_context
def concatenate(context: Budgeted, *values: object) -> str:
    """What the operator ``~`` does."""
    return _joined(context, "", values)


def _joined(context: Budgeted, separator: str, values: Sequence[object]) -> str:
    context.spend(len(values))
    texts = [to_text(value) for value in values]
    length = len(separator) * len(texts) + sum(map(len, texts))
    context.spend(length // 64)
    if context.eval_ctx.autoescape:
        return Markup.escape(separator).join(texts)
    return separator.join(texts)


def _listed(value: object) -> Sequence[object]:
    if isinstance(value, list | tuple | str):
        return value
    if isinstance(value, Undefined):
        to_text(value)
    raise SecurityError(f"a list is needed, not {type(value).__name__}")


def _first(items: object) -> object:
    return next(iter(_listed(items)), None)


def _last(items: object) -> object:
    return next(reversed(_listed(items)), None)


def _length(items: object) -> int:
    return len(items) if isinstance(items, Mapping) else len(_listed(items))


def _as_number(value: object) -> Decimal:
    try:
        return Decimal(to_text(value).strip()[:100])
    except InvalidOperation:
        raise SecurityError(f"{to_text(value)[:40]!r} is not a number") from None


def _as_date(value: object) -> date:
    if isinstance(value, date):
        return value
    text = to_text(value).strip()[:40]
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        raise SecurityError(f"{text!r} is not a date (YYYY-MM-DD)") from None


def _round(value: object, digits: int = 0) -> Decimal:
    return round(_bounded(_as_number(value)), _digits(digits))


def _digits(digits: int) -> int:
    if not 0 <= digits <= _MOST_DIGITS:
        raise SecurityError(f"0 to {_MOST_DIGITS} digits can be shown")
    return digits


def _bounded(number: Decimal) -> Decimal:
    # 1e999999 is four words to write and a megabyte to print.
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise SecurityError(f"{number:.3e} is out of bounds")
    return number


@pass_context
def _number(
    context: Budgeted, value: object, digits: int | None = None, locale: str | None = None
) -> str:
    context.spend(50)  # CLDR formatting takes about 50 µs
    fraction = ".###" if digits is None else "." + "0" * _digits(digits)
    pattern = ("#,##0" + fraction).removesuffix(".")
    number = _bounded(_as_number(value))
    return str(format_decimal(number, format=pattern, locale=_locale(context, locale)))


@pass_context
def _currency(context: Budgeted, value: object, code: str, locale: str | None = None) -> str:
    context.spend(50)
    if not re.fullmatch("[A-Z]{3}", code):
        raise SecurityError(f"{code[:10]!r} is not a currency code such as EUR")
    number = _bounded(_as_number(value))
    return str(format_currency(number, code, locale=_locale(context, locale)))


@pass_context
def _date(
    context: Budgeted, value: object, style: str = "medium", locale: str | None = None
) -> str:
    context.spend(50)
    day = _as_date(value)
    if style == "iso":
        return day.isoformat()
    if style not in _DATE_STYLES and not _PATTERN.fullmatch(style):
        raise SecurityError("a date pattern has at most 60 characters")
    timed = isinstance(day, datetime) and style not in _DATE_STYLES
    show = format_datetime if timed else format_date
    return str(show(day, style, locale=_locale(context, locale)))


def _locale(context: Budgeted, locale: str | None) -> str:
    return locale if locale is not None else context.locale


FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": _on_text(lambda text: text.capitalize()),
    "currency": _currency,
    "date": _date,
    "default": default,
    "first": _first,
    "join": _join,
    "last": _last,
    "length": _length,
    "lower": _on_text(lambda text: text.lower()),
    "nl2br": _nl2br,
    "number": _number,
    "replace": _on_text(_replace),
    "round": _round,
    "safe": _on_text(lambda text: Markup(text)),  # noqa: S704 - the author's word for it
    "title": _on_text(lambda text: text.title()),
    "trim": _on_text(lambda text: text.strip()),
    "truncate": _on_text(_truncate),
    "upper": _on_text(lambda text: text.upper()),
    "urlencode": _on_text(lambda text: quote(text, safe="")),
}
FILTERS["d"] = FILTERS["default"]

TESTS: dict[str, Callable[..., bool]] = {
    "defined": lambda value: not isinstance(value, Undefined),
    "undefined": lambda value: isinstance(value, Undefined),
    "none": lambda value: value is None,
    "odd": lambda value: isinstance(value, int) and value % 2 == 1,
    "even": lambda value: isinstance(value, int) and value % 2 == 0,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float | Decimal),
    "mapping": lambda value: isinstance(value, Mapping),
    "sequence": lambda value: isinstance(value, list | tuple | str),
}
