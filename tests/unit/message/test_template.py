import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.errors import TemplateError
from mailer.message.template import Template


def fill(source: str, html: bool = False, **values: object) -> str:
    return Template("text", source, html=html).render(values)


@pytest.mark.parametrize(
    ("source", "values", "text"),
    [
        ("Hi {{ name }}!\n", {"name": "Ann"}, "Hi Ann!\n"),
        ("{{ n }}", {"n": 3}, "3"),
        ("[{{ n }}]", {"n": None}, "[]"),
        ("{{ name | default('friend') }}", {}, "friend"),
        ("{{ name | d('friend') }}", {"name": ""}, "friend"),
        ("{% if name %}Hi {{ name }}{% else %}Hello{% endif %}", {}, "Hello"),
        ("{{ name or 'friend' }}", {}, "friend"),
        ("{% for i in items %}{{ loop.index }}/{{ loop.length }}:{{ i.n }} {% endfor %}",
         {"items": [{"n": "a"}, {"n": "b"}]}, "1/2:a 2/2:b "),
        ("{% for i in items if i > 1 %}{{ i }}{% else %}none{% endfor %}", {"items": [1, 2]}, "2"),
        ("{% for i in missing %}x{% endfor %}", {"missing": []}, ""),
        ("{% set x = a + 1 %}{{ x * 2 - 1 }} {{ 7 // 2 }} {{ 7 % 2 }} {{ -a }}", {"a": 2},
         "5 3 1 -2"),
        ("{{ 'ab' + 'c' }}{{ '-' * 5 }}{{ 'x' ~ 1 ~ y }}", {"y": "z"}, "abc-----x1z"),
        ("{{ order.lines[0].sku }}{{ word[1:3] }}{{ word[0] }}",
         {"order": {"lines": [{"sku": "S"}]}, "word": "abcd"}, "Sbca"),
        ("{{ 'yes' if 'a' in tags else 'no' }}", {"tags": ["a"]}, "yes"),
        ("{{ n | number }} {{ n | number(2) }} {{ n | number(0, locale='de') }}",
         {"n": "1234567.891"}, "1,234,567.891 1,234,567.89 1.234.568"),
        ("{{ n | currency('EUR') }} {{ n | currency('JPY') }}", {"n": 12.5}, "€12.50 ¥12"),
        ("{{ d | date }}|{{ d | date('long') }}|{{ d | date('dd.MM.y') }}|{{ d | date('iso') }}",
         {"d": "2026-11-23"}, "Nov 23, 2026|November 23, 2026|23.11.2026|2026-11-23"),
        ("{{ d | date('HH:mm') }}", {"d": "2026-11-23T09:05:00+01:00"}, "09:05"),
        ("{{ l | join(', ') }} {{ l | first }} {{ l | last }} {{ l | length }}",
         {"l": ["a", "b"]}, "a, b a b 2"),
        ("{{ s | upper }} {{ s | title }} {{ s | truncate(4) }} {{ s | replace('o', '0') }}",
         {"s": "foo bar"}, "FOO BAR Foo Bar foo… f00 bar"),
        ("{{ s | urlencode }} {{ s | trim }} {{ 2.5 | round(1) }}", {"s": " a&b "},
         "%20a%26b%20 a&b 2.5"),
        ("{{ a is defined }} {{ 3 is odd }} {{ 3 is even }} {{ a is none }}", {"a": None},
         "True True False True"),
        ("{% with x = 1 %}{{ x }}{% endwith %}{# a remark #}{% raw %}{{ y }}{% endraw %}", {},
         "1{{ y }}"),
        ("{% for k in range(3) %}{{ k }}{% endfor %}", {}, "012"),
    ],
)  # fmt: skip
def test_templates_say_what_they_should(source: str, values: dict[str, object], text: str) -> None:
    assert fill(source, **values) == text


def test_values_are_escaped_in_html_and_nowhere_else() -> None:
    value = "<b>\"Tom\" & 'Jerry'</b>"
    assert fill("{{ x }}", x=value) == value
    escaped = "&lt;b&gt;&#34;Tom&#34; &amp; &#39;Jerry&#39;&lt;/b&gt;"
    assert fill("{{ x }}", html=True, x=value) == escaped
    assert fill("{{ x | default('') }}", html=True, x=value) == escaped
    assert fill("{{ [x] | join('<') }}", html=True, x=value) == escaped
    assert fill("{{ x ~ '' }}", html=True, x=value) == escaped
    assert fill("{{ x | safe }}", html=True, x=value) == value
    assert fill("{{ x | nl2br }}", html=True, x="a<\nb") == "a&lt;<br>\nb"
    assert fill("{{ x | nl2br }}", x="a<\nb") == "a<\nb"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["{{ a }}", "{{ b }}", "x\n", "<p>", "{{ a }}{{ b }}", "\n\n"])),
    st.text(max_size=20) | st.integers() | st.floats() | st.none() | st.booleans(),
    st.booleans(),
)
def test_the_short_way_of_plain_templates_gives_what_jinja_gives(
    pieces: list[str], value: object, html: bool
) -> None:
    source = "".join(pieces)
    values = {"a": value, "b": "<&>"}
    # An empty statement sends the same template the long way round.
    assert fill(source, html, **values) == fill(
        source + "{% if false %}{% endif %}", html, **values
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["{{ a }}", "x", "\n", "long text", "{{ b }}"])))
def test_the_runs_of_a_template_make_up_the_whole(pieces: list[str]) -> None:
    template = Template("text", "".join(pieces))
    values = {"a": "1\n2", "b": "ü"}
    runs = [run if isinstance(run, str) else run.render(values) for run in template.runs()]
    assert "".join(runs) == template.render(values)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a\n{{ name", "text, line 2: unexpected end of template"),
        ("{% if x %}", "text, line 1: Unexpected end of template"),
        ("\n\n{{ x | nosuch }}", "text, line 3: No filter named 'nosuch'"),
        ("{% include 'x' %}", "'include' is not available"),
        ("{% import 'x' as y %}", "'import' is not available"),
        ("{% macro f() %}{{ f() }}{% endmacro %}", "'macro' is not available"),
        ("{% for a in b recursive %}{% endfor %}", "a loop cannot call itself"),
        ("{% set x %}a{% endset %}", "not available"),
        ("{% filter upper %}a{% endfilter %}", "not available"),
        ("{{ name.upper() }}", "use a filter"),
        ("{{ range(*x) }}", "range() takes one to three numbers"),
        ("{{ self }}", "'self' is not available"),
        ("{{ x | _counted(0) }}", "No filter named '_counted'"),
        ("{{ 2 ** 9 }}", "not available"),
        ("{{ {'a': 1} }}", "not available"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "nested too deeply"),
        ("{{ " + "9" * 5000 + " }}", "nested too deeply"),
        ("x" * 1_000_001, "longer than 1,000,000 characters"),
    ],
)
def test_a_template_that_cannot_be_is_refused_with_its_line(source: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template("text", source)
    assert problem.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ name }}", "text: 'name' has no value"),
        ("\n{{ name | upper }}", "text, line 2: 'name' has no value"),
        ("{{ name ~ 'x' }}", "'name' has no value"),
        ("{{ name + 1 }}", "'name' has no value"),
        ("{{ name == 1 }}", "'name' has no value"),
        ("{{ name | join }}", "'name' has no value"),
        ("{% for x in name %}{% endfor %}", "'name' has no value"),
        ("{{ order.nosuch }}", "'dict object' has no attribute 'nosuch'"),
        ("{{ order.nosuch.deeper }}", "has no attribute 'nosuch'"),
        ("{{ ''.__class__ }}", "has no attribute '__class__'"),
        ("{{ order }}", "a dict cannot be put into text"),
        ("x{{ order | upper }}", "a dict cannot be put into text"),
        ("{{ 1 / 0 }}", "cannot be worked out"),
        ("{{ 'x' | number }}", "'x' is not a number"),
        ("{{ 'x' | date }}", "'x' is not a date"),
        ("{{ 1 | currency('€') }}", "is not a currency code"),
        ("{{ 1 | number(locale='xx') }}", "unknown locale 'xx'"),
        ("{{ 1 | number(99) }}", "digits"),
        ("{{ '2026-01-01' | date('y' * 90) }}", "at most 60 characters"),
        ("{{ 1 | join }}", "a list is needed"),
        ("{% for a in 1 %}{% endfor %}", "no list to loop over"),
        ("{{ order < 1 }}", "not compared"),
        ("{{ 'a' - 1 }}", "needs numbers"),
    ],
)
def test_a_recipient_that_does_not_fit_is_named_with_the_line(source: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        fill(source, order={"a": 1})
    assert problem in str(caught.value)


ENDLESS = [
    "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
    "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
    "{% for i in range(1000000000) %}{% endfor %}",
    "{% for i in range(10000) %}" + "x" * 100_000 + "{% endfor %}",
    "{% for i in range(10000) %}{{ big }}{% endfor %}",
    "{% for i in range(10000) %}{% if big in bigger %}{% endif %}{% endfor %}",
    "{% for i in range(10000) %}{% set x = big | upper %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a | replace('x', a) %}" * 9 + "{{ a }}",
    "{% set a = 9999999 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "{% set a = [1] %}{% set b = [1] %}" + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60
    + "{{ a == b }}",
    "{{ 'a' | replace('a', big) | replace('a', big) | replace('a', big) }}",
    "{{ '1e9999999' | number }}",
    "{{ 'x' | truncate(1000000000) ~ ('y' * 1000000) }}",
    "{% for i in range(10000) %}{{ i | number }}{% endfor %}",
]  # fmt: skip


@pytest.mark.parametrize("source", ENDLESS)
def test_no_template_runs_or_grows_without_end(source: str) -> None:
    with pytest.raises(TemplateError):
        fill(source, big="a" * 50_000, bigger="ab" * 50_000)


@pytest.mark.parametrize(
    ("source", "names", "excused"),
    [
        ("{{ a }} {{ b.c }} {{ d | upper }}", {"a", "b", "d"}, set()),
        ("{{ a | default('x') }} {{ b.c | d('x') }}", {"a", "b"}, {"a", "b"}),
        ("{% if a %}{% elif b.c %}{% endif %}", {"a", "b"}, {"a", "b"}),
        ("{% if a > 1 %}{% endif %}", {"a"}, set()),
        ("{% if not a and (b or c) %}{% endif %}", {"a", "b", "c"}, {"a", "b", "c"}),
        ("{{ a is defined }}{{ b or 'x' }}{{ 'y' if c }}", {"a", "b", "c"}, {"a", "b", "c"}),
        ("{% for x in a %}{{ x }}{{ loop.index }}{% endfor %}{% set y = 1 %}{{ y }}", {"a"}, set()),
        ("{{ range(3) | join }}", set(), set()),
    ],
)
def test_a_template_knows_which_variables_it_needs(
    source: str, names: set[str], excused: set[str]
) -> None:
    template = Template("text", source)
    assert (template.names, template.excused & template.names) == (names, excused)
