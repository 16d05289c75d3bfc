"""MJML, by the library of the extra ``mjml``."""

from mailer.errors import MessageError


def html_from_mjml(source: str) -> str:
    """Turn MJML into HTML. Template marks in texts and attributes pass through unchanged."""
    try:
        from mjml import mjml2html
    except ImportError:
        raise MessageError("mjml", "needs the extra: pip install 'mailer[mjml]'") from None
    try:
        return str(mjml2html(source))
    except Exception as error:
        raise MessageError("mjml", " ".join(str(error).split())) from None
