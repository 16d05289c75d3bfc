"""The options from which a message is made, shared by ``campaign create`` and ``send``."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import click

from mailer.errors import InputError
from mailer.message import Attachment, Message

_OPTIONS = (
    click.option("--sender", required=True, help='"Name <address>", may use variables.'),
    click.option("--subject", required=True, help="May use variables: {{ name }}."),
    click.option("--text", "text_file", type=Path, help="File with the plain text."),
    click.option("--html", "html_file", type=Path, help="File with the HTML."),
    click.option("--attach", "attach", type=Path, multiple=True, help="File for everybody."),
    click.option("--reply-to", help="Where answers go."),
    click.option(
        "--priority",
        type=click.Choice(["high", "normal", "low"]),
        default="normal",
        show_default=True,
    ),
)


def message_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the message's options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build(
    *,
    sender: str,
    subject: str,
    text_file: Path | None,
    html_file: Path | None,
    attach: tuple[Path, ...],
    reply_to: str | None,
    priority: Literal["high", "normal", "low"],
) -> Message:
    """The message that the options describe."""
    return Message(
        sender=sender,
        subject=subject,
        text=read_text("--text", text_file),
        html=read_text("--html", html_file),
        attachments=[Attachment.from_path(path) for path in attach],
        reply_to=reply_to,
        priority=priority,
    )


def read_text(option: str, path: Path | None) -> str | None:
    """A UTF-8 file's content."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{option}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{option}: {path} is not UTF-8 text") from None


class Time(click.ParamType[datetime]):
    """An ISO 8601 date and time with its zone's offset."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date and time such as 2026-12-01T09:00+01:00", param, ctx)
        if when.utcoffset() is None:
            self.fail(f"{value!r} names no zone; add its offset: {value}+01:00, or Z", param, ctx)
        return when
