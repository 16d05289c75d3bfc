"""The example: each person's own file, and nobody else's."""

from pathlib import Path

from python_calamine import CalamineWorkbook

from examples.payslips.send import message
from mailer.render import compile_message
from tests.unit.render.make import parse

HERE = Path("examples/payslips")


def test_each_person_gets_the_payslip_that_bears_the_name() -> None:
    head, *rows = CalamineWorkbook.from_path(HERE / "staff.xlsx").get_sheet_by_index(0).to_python()
    compiled = compile_message(message)
    for row in rows:
        person = dict(zip(head, row, strict=True))
        mail = compiled.preview(person, email=person["email"], folder=HERE / "payslips")
        found = parse(mail)
        (file,) = found.iter_attachments()
        name = person["name"].encode("utf-16-be").hex().encode()
        assert (mail.recipient, found["X-Priority"]) == (person["email"], "1")
        assert file.get_filename() == f"{person['name']} 2026-11.pdf"
        assert name in file.get_content()
        others = {one[1].encode("utf-16-be").hex().encode() for one in rows} - {name}
        assert not any(other in file.get_content() for other in others)
