"""TLS, with the certificate of the settings and with those that it is renewed with while the server runs."""

import asyncio
import logging
import ssl
from pathlib import Path

from omni_server.settings import Tls

LOOK_EVERY = 60.0  # s between looks at whether the files are others
log = logging.getLogger(__name__)


def encryption(tls: Tls) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, where the settings name a certificate; raises ValueError."""
    if tls.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, tls)
    return context


def load(context: ssl.SSLContext, tls: Tls) -> None:
    """Use what the files hold now, for connections that begin from now on; raises ValueError."""
    assert tls.certificate is not None
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_nobody_types_it)
    except OSError as wrong:  # an SSLError is one
        raise ValueError(f"{tls.certificate} and {tls.key} are no certificate and key: {wrong}") from None


async def renew(context: ssl.SSLContext, tls: Tls) -> None:
    """Look for a new certificate again and again; one that is none, or half there, is not taken."""
    seen = _stamps(tls)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = _stamps(tls)
        if now == seen:
            continue
        seen = now
        try:
            encryption(tls)  # a certificate without its key would spoil the context that is in use
            load(context, tls)
        except ValueError as wrong:
            log.error("the certificate stays the old one: %s", wrong)
        else:
            log.info("the certificate was renewed")


def _stamps(tls: Tls) -> list[int]:
    """When each file was last written; 0 of one that is not there just now."""
    found = []
    for file in (tls.certificate, tls.key):
        try:
            found.append(Path(file or "").stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return found


def _nobody_types_it() -> str:
    raise ValueError("the key of the certificate is encrypted, and nobody is there to type its passphrase: decrypt it")
