"""Make staff.xlsx and a PDF for each person in it: ``python examples/payslips/make.py``.

Both formats are written by hand, so that the example needs nothing installed.
"""

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
STAFF = [
    ("zhang.wei@example.com", "张伟", "E001", "18500.00"),
    ("wang.fang@example.com", "王芳", "E002", "21300.50"),
    ("li.na@example.com", "李娜", "E003", "16750.00"),
    ("joerg.mueller@example.com", "Jörg Müller", "E004", "19900.00"),
]
MONTH = "2026-11"
COLUMNS = ("email", "name", "staff_no", "month", "net", "payslip")

_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def write_xlsx(path: Path, rows: list[tuple[str, ...]]) -> None:
    """The smallest workbook that spreadsheets open: one sheet of texts (ECMA-376)."""
    parts = {
        "[Content_Types].xml": _types(),
        "_rels/.rels": _related("officeDocument", "xl/workbook.xml"),
        "xl/_rels/workbook.xml.rels": _related("worksheet", "worksheets/sheet1.xml"),
        "xl/workbook.xml": (
            f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
            '<sheet name="Staff" sheetId="1" r:id="r1"/></sheets></workbook>'
        ),
        "xl/worksheets/sheet1.xml": (
            f'<worksheet xmlns="{_SHEET}"><sheetData>'
            + "".join(_row(row) for row in rows)
            + "</sheetData></worksheet>"
        ),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            # A fixed date, so that the same staff give the same file.
            entry = zipfile.ZipInfo(name, (2026, 11, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, f'<?xml version="1.0" encoding="UTF-8"?>{text}')


def _row(cells: tuple[str, ...]) -> str:
    shown = [f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in cells]
    return f"<row>{''.join(shown)}</row>"


def _types() -> str:
    rels = "application/vnd.openxmlformats-package.relationships+xml"
    return (
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="{rels}"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_KIND}.worksheet+xml"/>'
        "</Types>"
    )


def _related(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{_OFFICE}/{kind}" Target="{target}"/></Relationships>'
    )


def write_pdf(path: Path, lines: list[str]) -> None:
    """One page in a font that PDF readers bring along for Chinese (ISO 32000-1, 9.7)."""
    shown = " T* ".join(f"<{line.encode('utf-16-be').hex()}> Tj" for line in lines)
    stream = f"BT /F 16 Tf 24 TL 72 760 Td {shown} ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
            "/Resources << /Font << /F 5 0 R >> >> >>"
        ),
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        (
            "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H "
            "/DescendantFonts [6 0 R] >>"
        ),
        (
            "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 "
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> "
            "/FontDescriptor 7 0 R >>"
        ),
        (
            "<< /Type /FontDescriptor /FontName /STSong-Light /Flags 4 /ItalicAngle 0 /Ascent 880 "
            "/Descent -120 /CapHeight 880 /StemV 93 /FontBBox [-25 -254 1000 880] >>"
        ),
    ]
    content, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(content))
        content += f"{number} 0 obj\n{text}\nendobj\n".encode("ascii")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    path.write_bytes(content + f"{end}startxref\n{len(content)}\n%%EOF\n".encode("ascii"))


def main() -> None:
    folder = HERE / "payslips"
    folder.mkdir(exist_ok=True)
    rows: list[tuple[str, ...]] = [COLUMNS]
    for email, name, number, net in STAFF:
        file = f"{number}-{MONTH}.pdf"
        write_pdf(folder / file, [f"工资单 Payslip {MONTH}", name, number, f"CNY {net}"])
        rows.append((email, name, number, MONTH, net, file))
    write_xlsx(HERE / "staff.xlsx", rows)


if __name__ == "__main__":
    main()
