"""The TLS settings of a server: verified by default, never below 1.2."""

import ssl

from .errors import TlsError
from .model import Phase
from .server import Server


def context(server: Server) -> ssl.SSLContext | None:
    """The context to use, None for ``tls="none"``. Raises TlsError when a file is unusable.

    Reading the system's authorities takes some 10 ms, so a pool makes one and keeps it.
    """
    if server.tls == "none":
        return None
    try:
        made = ssl.create_default_context(cafile=server.ca_file)
        if server.client_certificate:
            made.load_cert_chain(server.client_certificate, server.client_key)
    except (OSError, ssl.SSLError) as error:
        files = server.ca_file or server.client_certificate
        raise TlsError(Phase.TLS, f"cannot use {files}: {error.strerror or error}") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not server.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def explain(error: ssl.SSLError | OSError) -> str:
    """Why TLS failed, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return f"TLS failed: {getattr(error, 'reason', None) or error}"
