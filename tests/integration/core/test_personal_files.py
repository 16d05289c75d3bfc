"""Files of each recipient's own, from the request to the message."""

from email import message_from_bytes, policy
from pathlib import Path

import pytest

from mailer import Attachment, InputError, Mailer, Message


def payslips(name: str | None = None) -> Message:
    return Message(
        sender="hr@example.com",
        subject="Payslip",
        text="Attached.",
        attachments=[Attachment.per_recipient("{{ payslip }}", name=name)],
    )


def attached(eml: bytes) -> list[tuple[str | None, bytes]]:
    parsed = message_from_bytes(eml, policy=policy.default)
    return [(part.get_filename(), part.get_content()) for part in parsed.iter_attachments()]


def test_each_gets_the_bytes_that_came_with_his_row(mailer: Mailer) -> None:
    rows = [{"email": f"{n}@example.com", "Payslip": f"slip of {n}".encode()} for n in "abc"]
    campaign = mailer.campaigns.create(
        name="n", message=payslips("slip.pdf"), recipients=iter(rows)
    )
    for row in rows:
        eml = campaign.preview(str(row["email"]))
        assert attached(eml) == [("slip.pdf", row["Payslip"])]


def test_an_attachment_of_a_row_keeps_its_name(mailer: Mailer) -> None:
    file = Attachment.from_bytes(b"%PDF", name="Ann's.pdf")
    campaign = mailer.campaigns.create(
        name="n", message=payslips(), recipients=[{"email": "a@example.com", "payslip": file}]
    )
    assert attached(campaign.preview("a@example.com")) == [("Ann's.pdf", b"%PDF")]


def test_each_gets_the_file_that_his_row_names(mailer: Mailer, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.pdf").write_bytes(name.encode())
    campaign = mailer.campaigns.create(
        name="n",
        message=payslips(),
        recipients=[{"email": f"{n}@example.com", "payslip": f"{n}.pdf"} for n in "ab"],
    )
    assert attached(campaign.preview("a@example.com")) == [("a.pdf", b"a")]
    assert attached(campaign.preview("b@example.com")) == [("b.pdf", b"b")]


@pytest.mark.parametrize("path", ["missing.pdf", "../outside.pdf", "/etc/passwd"])
def test_a_file_that_cannot_be_used_stops_all_with_its_row(mailer: Mailer, path: str) -> None:
    rows = [{"email": "a@example.com", "payslip": path}]
    with pytest.raises(InputError, match="line 1"):
        mailer.campaigns.create(name="n", message=payslips(), recipients=rows)
    assert list(mailer.campaigns.list()) == []
