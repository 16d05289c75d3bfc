"""What teams write themselves: one Celery task per recipient, in two qualities.

``plain``: an smtplib connection for each message and a row updated through the ORM.
``tuned``: a connection kept by each process, and a statement of its own instead of the ORM.
"""

import os
import smtplib
from email.message import EmailMessage
from functools import cache

import psycopg
import sqlalchemy as sa
from celery import Celery
from jinja2 import Template
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.bench.path.sample import HTML, SENDER, SUBJECT, TEXT

DATABASE = os.environ.get("BENCH_DATABASE", "")
SMTP_PORT = int(os.environ.get("BENCH_SMTP_PORT", "0"))

app = Celery("usual", broker=os.environ.get("BENCH_BROKER", "memory://"))
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=16)


class Base(DeclarativeBase):
    """The peers' own table."""


class Mail(Base):
    """One recipient."""

    __tablename__ = "usual_mail"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    state: Mapped[str]


@cache
def _engine() -> sa.Engine:
    return sa.create_engine(DATABASE.replace("postgresql://", "postgresql+psycopg://"))


@cache
def _templates() -> tuple[Template, Template, Template]:
    return Template(SUBJECT), Template(TEXT), Template(HTML)


def _message(email: str, name: str) -> EmailMessage:
    subject, text, html = _templates()
    values = {"name": name, "email": email, "city": "Paris", "amount": "12.50", "month": "May"}
    message = EmailMessage()
    message["From"], message["To"] = SENDER, email
    message["Subject"] = subject.render(values)
    message.set_content(text.render(values))
    message.add_alternative(html.render(values), subtype="html")
    return message


@app.task(name="usual.plain")
def plain(row: int) -> None:
    """The first version everybody writes."""
    with Session(_engine()) as session:
        mail = session.get_one(Mail, row)
        with smtplib.SMTP("127.0.0.1", SMTP_PORT) as smtp:
            smtp.send_message(_message(mail.email, mail.name))
        mail.state = "sent"
        session.commit()


@cache
def _smtp() -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", SMTP_PORT)


@cache
def _connection() -> psycopg.Connection:
    return psycopg.connect(DATABASE, autocommit=True)


@app.task(name="usual.tuned")
def tuned(row: int) -> None:
    """After a week of profiling."""
    found = _connection().execute("SELECT email, name FROM usual_mail WHERE id = %s", (row,))
    email, name = found.fetchone() or ("", "")
    _smtp().send_message(_message(email, name))
    _connection().execute("UPDATE usual_mail SET state = 'sent' WHERE id = %s", (row,))
