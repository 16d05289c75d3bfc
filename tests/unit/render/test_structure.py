from email.message import EmailMessage

import pytest

from mailer.errors import MessageError
from mailer.message import Attachment
from mailer.render import compile_message
from tests.unit.render.make import make, parse, read, send

PNG = b"\x89PNG\r\n\x1a\n"


def shape(message: EmailMessage) -> list[str]:
    return [part.get_content_type().partition("/")[2] for part in message.walk()]


def test_everything_at_once_is_laid_out_as_readers_expect() -> None:
    message = make(
        html='<img src="logo.png">', calendar="BEGIN:VCALENDAR\nMETHOD:CANCEL\nEND:VCALENDAR",
        attachments=[Attachment.from_bytes(PNG, "logo.png"), Attachment.from_bytes(b"x", "a.pdf"),
                     Attachment.per_recipient("{{ file }}")],
    )  # fmt: skip
    personal = [("d1", "yours.pdf", "application/pdf"), ("d2", "你的.txt", "text/plain")]
    found = read(message, personal=personal, contents={"d1": b"1", "d2": b"2"}.__getitem__)
    assert shape(found) == [
        "mixed", "alternative", "plain", "related", "html", "png", "calendar",
        "pdf", "pdf", "plain",
    ]  # fmt: skip
    files = [(one.get_filename(), one.get_content()) for one in found.iter_attachments()]
    assert files == [("a.pdf", b"x"), ("yours.pdf", b"1"), ("你的.txt", "2")]
    assert list(found.walk())[6].get_param("method") == "CANCEL"


def test_a_lone_part_needs_no_multipart() -> None:
    assert shape(read(make())) == ["plain"]
    assert shape(read(make(text=None, attachments=[Attachment.from_bytes(b"x", "a.pdf")]))) == [
        "pdf"
    ]


@pytest.mark.parametrize(
    "html",
    ['<img src="logo.png">', "<img src=logo.png>", "<td background='logo.png'>",
     '<p style="background: url(logo.png)">', '<img src="cid:logo.png">', '<IMG SRC = "LOGO.PNG">'],
)  # fmt: skip
def test_an_image_named_in_the_html_is_shown_in_it(html: str) -> None:
    found = read(make(html=html, attachments=[Attachment.from_bytes(PNG, "logo.png")]))
    image = list(found.walk())[-1]
    assert image.get_content_disposition() == "inline"
    body = found.get_body(("html",))
    assert body is not None
    assert f"cid:{image['Content-ID'].strip('<>')}" in body.get_content()


def test_an_image_may_have_a_content_id_of_its_own() -> None:
    image = Attachment.from_bytes(PNG, "x.png", cid="logo@here")
    found = read(make(html='<img src="cid:logo@here">', attachments=[image]))
    assert list(found.walk())[-1]["Content-ID"] == "<logo@here>"


def test_an_image_the_html_does_not_show_is_attached() -> None:
    for html in ("<p>logo.png</p>", '<img src="other-logo.png">', "<img src=logo.png.gif>"):
        found = read(make(html=html, attachments=[Attachment.from_bytes(PNG, "logo.png")]))
        assert [one.get_filename() for one in found.iter_attachments()] == ["logo.png"]


def test_an_image_shown_by_wish_or_kept_out_by_wish() -> None:
    shown = make(html="<p>", attachments=[Attachment.from_bytes(PNG, "a.png", inline=True)])
    assert shape(read(shown))[-3:] == ["related", "html", "png"]
    kept = Attachment.from_bytes(PNG, "a.png", inline=False)
    found = read(make(html='<img src="a.png">', attachments=[kept]))
    assert len(list(found.iter_attachments())) == 1


def test_html_alone_gets_a_text_part_made_from_it() -> None:
    html = """<html><head><title>No</title><style>p {}</style></head><body>
    <h1>Hello  {{ name }}</h1><p>You &amp; me<br>two</p>
    <ul><li>one</li>{% for i in items %}<li>{{ i }}</li>{% endfor %}</ul>
    <a href="{{ url }}">More</a> <a href="https://x.example">https://x.example</a>
    <img src="x" alt="A picture"><hr><table><tr><td>a</td><td>b</td></tr></table>
    <a href="mailto:a@b.example">a@b.example</a><a href="#top">top</a></body></html>"""
    values = {"name": "<Ann>", "url": "https://u.example", "items": ["x"]}
    body = read(make(text=None, html=html), values).get_body(("plain",))
    assert body is not None
    text = body.get_content().replace("\r\n", "\n")
    for line in ("Hello <Ann>", "You & me\ntwo", "- one", "- x", "More (https://u.example)",
                 "----", "a b", "A picture"):  # fmt: skip
        assert line in text
    assert "No" not in text
    assert text.count("https://x.example") == 1


def test_css_moves_into_the_tags_and_template_marks_stay_whole() -> None:
    pytest.importorskip("css_inline")
    html = (
        "<style>td { color: red } @media print { td { color: blue } }</style><table>"
        "{% for r in rows %}<tr><td class='{{ r.c }}' title='{% if r.x %}9{% endif %}'>{{ r.t }}"
        "</td></tr>{% endfor %}</table><a href=\"{{ url | default('a&b') }}\">x</a>"
    )
    rows = [{"c": "k", "x": 1, "t": "one"}, {"c": "k", "x": 0, "t": "two"}]
    body = read(make(html=html, inline_css=True), {"rows": rows}).get_body(("html",))
    assert body is not None
    found = body.get_content()
    assert found.count('style="color: red') == 2
    assert (found.count('title="9"'), found.count('title=""')) == (1, 1)
    assert "@media print" in found
    assert 'href="a&amp;b"' in found
    assert "zqmark" not in found
    assert (
        found.index("<table>") < found.index("one") < found.index("two") < found.index("</table>")
    )


@pytest.mark.parametrize(
    "html", ["<td {% if x %}width='9'{% endif %}>", "<style>p {}</style><p style='{{ x }}'>"]
)
def test_css_that_cannot_be_moved_is_an_error_with_a_reason(html: str) -> None:
    pytest.importorskip("css_inline")
    with pytest.raises(MessageError, match="inline_css"):
        compile_message(make(html=html, inline_css=True))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain text", "7bit"),
        ("naïve but mostly plain text", "quoted-printable"),
        ("工资单已经准备好了", "base64"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("a boundary =_mixed", "quoted-printable"),
        ("trailing space ü \n.\nFrom me", "quoted-printable"),
    ],
)
def test_the_encoding_is_chosen_by_content(text: str, encoding: str) -> None:
    for message, values in ((make(text=text), {}), (make(text="{{ t }}"), {"t": text})):
        found = read(message, values)
        assert found["Content-Transfer-Encoding"] == encoding
        assert found.get_content().rstrip("\r\n").replace("\r\n", "\n") == text


def test_any_kind_of_line_end_becomes_crlf() -> None:
    mail = send(make(text="a\r\nb\rc\n{{ x }}"), {"x": "1\r2\r\n3\n4"})
    assert mail.content.partition(b"\r\n\r\n")[2] == b"a\r\nb\r\nc\r\n1\r\n2\r\n3\r\n4\r\n"


def test_a_shared_file_may_have_a_name_for_each_recipient() -> None:
    message = make(attachments=[Attachment.from_bytes(b"x", "Terms for {{ name }}.pdf")])
    found = read(message, {"name": "Zoë/../x"})
    assert [one.get_filename() for one in found.iter_attachments()] == ["x.pdf"]


def test_a_long_name_is_cut_but_keeps_its_suffix() -> None:
    message = make(attachments=[Attachment.from_bytes(b"x", "長" * 400 + ".pdf")])
    name = next(iter(read(message).iter_attachments())).get_filename() or ""
    assert (len(name), name[-5:]) == (255, "長.pdf")


def test_a_shared_file_is_encoded_once() -> None:
    compiled = compile_message(make(attachments=[Attachment.from_bytes(b"x" * 10_000, "a.bin")]))
    assert compiled.size > 13_000
    first = compiled.preview({}, email="a@example.net")
    second = compiled.preview({}, email="b@example.net")
    assert parse(first)["To"] != parse(second)["To"]
    assert next(parse(first).iter_attachments()).get_content() == b"x" * 10_000
