"""``mailer send``"""

from typing import Any

import click

from mailer.cli.message import build, message_options
from mailer.client import Mailer
from mailer.errors import InputError


@click.command()
@message_options
@click.option("--to", required=True, help="The recipient's address.")
@click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="For the templates.")
@click.option("--provider", multiple=True)
@click.option("--key", help="The same key sends no second message.")
def send(
    to: str, variables: tuple[str, ...], provider: tuple[str, ...], key: str | None, **message: Any
) -> None:
    """Send one urgent message, ahead of bulk; prints its delivery's id."""
    with Mailer() as mailer:
        delivery = mailer.send(
            build(**message),
            to=to,
            variables=dict(_pair(text) for text in variables),
            provider=provider or None,
            key=key,
        )
        click.echo(str(delivery.id))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--var: {text!r} is not NAME=VALUE")
    return name, value
