"""Which engines a server has, and which of them a mode means."""

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from omni_server.client.refusals import NoServer, NotTaken, WrongKey

PATIENCE = 10.0  # s
OTHERS = ("pipeline", "echo", "echo-live")  # names of engines that are no model


async def model_of(url: str, mode: str, key: str | None) -> str:
    """The model to ask for; raises `NotTaken` where the server has none of this mode."""
    names = await asyncio.to_thread(_names, url, key)
    found = next((name for name in names if name not in OTHERS), None) if mode == "native" else mode
    if found is None or found not in names:
        raise NotTaken(f"the server has no {mode} engine: it has {', '.join(names)}")
    return found


def _names(url: str, key: str | None) -> list[str]:
    parts = urlsplit(url)
    scheme = "https" if parts.scheme == "wss" else "http"
    page = urlunsplit((scheme, parts.netloc, "/v1/models", "", ""))
    asked = urllib.request.Request(page, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE) as response:
            return [str(one["id"]) for one in json.load(response)["data"]]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise WrongKey(f"the server at {url} does not let you in: pass another key with key=… or --key") from None
        raise NotTaken(
            f"the server at {url} does not say which engines it has ({error.code}): leave the mode out"
        ) from None
    except http.client.HTTPException as wrong:
        raise NoServer(f"whoever answers at {url} speaks no HTTP ({wrong}): is the port right?") from None
    except (ValueError, KeyError, TypeError):
        raise NotTaken(f"the server at {url} does not say which engines it has: leave the mode out") from None
