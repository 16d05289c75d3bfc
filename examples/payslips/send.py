"""Send each person their own payslip, with high priority: ``python examples/payslips/send.py``.

``mailer.toml`` says where the PDFs are: ``attachments_dir = "examples/payslips/payslips"``.
"""

from pathlib import Path

from mailer import Attachment, Mailer, Message

HERE = Path(__file__).parent

message = Message(
    sender="HR <hr@example.com>",
    to="{{ name }} <{{ email }}>",
    subject="工资单 Payslip {{ month }}",
    text=(
        "{{ name }}，您好：\n\n附件是您 {{ month }} 的工资单。\n"
        "Your payslip for {{ month }} is attached.\n\nHR\n"
    ),
    attachments=[Attachment.per_recipient("{{ payslip }}", name="{{ name }} {{ month }}.pdf")],
    priority="high",
    auto_submitted="auto-generated",
)


def main() -> None:
    with Mailer() as mailer:
        campaign = mailer.campaigns.create(
            name="payslips-2026-11",
            message=message,
            recipients=HERE / "staff.xlsx",
            key="payslips-2026-11",
        )
        campaign.start()
        campaign.wait(timeout=60)
        for delivery in campaign.deliveries():
            print(delivery.email, delivery.state)  # noqa: T201 - a script talks to who runs it


if __name__ == "__main__":
    main()
