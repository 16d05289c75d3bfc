"""The message of the benchmark: about 2 kB on the wire, text and HTML, five variables."""

SENDER = "Accounts <accounts@example.com>"
SUBJECT = "{{ name }}, your statement for {{ month }}"
_LINE = "This line stands for the words that a statement has and that everybody gets alike.\n"
TEXT = "Dear {{ name }} in {{ city }},\n\nyou owe {{ amount }}.\n\n" + _LINE * 7 + "{{ email }}\n"
HTML = (
    "<p>Dear {{ name }} in {{ city }},</p><p>you owe <b>{{ amount }}</b>.</p><p>"
    + _LINE * 7
    + "</p><p>{{ email }}</p>\n"
)


def recipients(count: int) -> list[dict[str, str]]:
    """As many people, each with the five columns."""
    return [
        {
            "email": f"reader{n}@example.com",
            "name": f"Reader {n}",
            "city": "Paris",
            "amount": f"{n}.50",
            "month": "May",
        }
        for n in range(count)
    ]
