"""The commands of the first level."""

import click

from mailer.cli import campaign, provider, send, services, suppress


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailer")
def cli() -> None:
    """Bulk and scheduled mail that is exact about who got what."""


cli.add_command(campaign.campaign)
cli.add_command(provider.provider)
cli.add_command(suppress.suppress)
cli.add_command(send.send)
for command in services.COMMANDS:
    cli.add_command(command)
