"""Which web pages may connect: a page of somebody else must not talk to the server behind its visitor's back."""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# As browsers write it: small letters, no default port, nothing behind the port. Of a page without an origin: null.
SENT = re.compile(r"null|(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://[^A-Z\s/?#@]+")


def check(origins: Sequence[str]) -> None:
    """Raise ValueError for one that no browser sends, so that it would let nobody in.

    >>> check(["*", "https://app.example", "http://[::1]:8000", "null"])
    """
    for origin in origins:
        if origin != "*" and not SENT.fullmatch(origin):
            raise ValueError(
                f"limits.origins has {origin!r}, which no browser sends: write SCHEME://HOST, or SCHEME://HOST:PORT "
                "where the port is not the usual one, in small letters and with nothing behind it"
            )


def allowed(origin: str | None, host: str | None, also: Sequence[str], *, secret: bool, encrypted: bool) -> bool:
    """Whether a request with these headers may come in; who sends no Origin is no browser.

    The server's own page may, if its name cannot be somebody else's that was pointed at this address (DNS rebinding):
    it is an address or localhost, or whoever comes has to know a key (`secret`) anyway.

    >>> allowed("http://localhost:8000", "localhost:8000", [], secret=False, encrypted=False)
    True
    >>> allowed("http://evil.example:8000", "evil.example:8000", [], secret=False, encrypted=False)
    False
    >>> allowed("https://app.example", "10.0.0.5:8000", ["https://app.example"], secret=False, encrypted=False)
    True
    """
    if origin is None or "*" in also or origin in also:
        return True
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host or ''}")
        default = 443 if encrypted else 80
        same = (
            page.scheme in ("http", "https")
            and page.hostname is not None
            and page.hostname == here.hostname
            and (page.port or PORTS[page.scheme]) == (here.port or (443 if page.scheme == "https" else default))
        )
    except ValueError:  # a port that is none
        return False
    return same and (secret or _cannot_be_rebound(page.hostname or ""))


def _cannot_be_rebound(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
