"""What a browser, a load balancer and Prometheus get on the same port. Files are read once, when the server starts:
nothing in a request ever becomes a path.
"""

import hashlib
import http
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Response

HERE = Path(__file__).parents[1] / "web"
LARGEST_FILE = 16 << 20  # bytes
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".map": "application/json"}
BARE_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Omni</title>
<h1>Omni</h1><p>A server for spoken conversations. It speaks on websockets:</p>
<ul><li><code>/v1/realtime</code>: OpenAI Realtime</li><li><code>/v1/omni</code>: omni.v1</li></ul>
<p><a href="/healthz">/healthz</a> <a href="/readyz">/readyz</a> <a href="/metrics">/metrics</a>
<a href="/v1/models">/v1/models</a></p></html>
"""


@dataclass(frozen=True)
class File:
    """A file of the web page, in memory."""

    body: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, body: bytes, kind: str) -> "File":
        """With a tag that says whether a browser has it already."""
        return cls(body, kind, f'"{hashlib.sha256(body).hexdigest()[:20]}"')


def files(folder: str | None) -> Mapping[str, File]:
    """Every file of the web page by its address; a folder's `index.html` is the folder's page."""
    root = Path(folder) if folder is not None else HERE
    if folder is not None and not root.is_dir():
        raise ValueError(f"--web {folder}: there is no such folder")
    found: dict[str, File] = {}
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if not path.is_file() or any(part.startswith((".", "__")) for part in path.relative_to(root).parts):
            continue
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(
                f"{path} has {path.stat().st_size:,} bytes: a file of the web page has at most {LARGEST_FILE:,}"
            )
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        address = "/" + path.relative_to(root).as_posix()
        found[address] = File.of(path.read_bytes(), kind)
        if path.name == "index.html":
            found[address.removesuffix("index.html")] = found[address]
    found.setdefault("/", File.of(BARE_PAGE.encode(), "text/html; charset=utf-8"))
    return found


def page(file: File, has: str | None) -> Response:
    """A file, or the news that the browser has it."""
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if has is not None and file.tag in has:
        return answer(304, b"", file.kind, headers)
    return answer(200, file.body, file.kind, headers)


def answer(
    status: int, body: bytes, kind: str = "text/plain; charset=utf-8", extra: Mapping[str, str] | None = None
) -> Response:
    """A response of HTTP; the connection ends with it."""
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "X-Content-Type-Options": "nosniff",
            **(extra or {}),
        }
    )
    return Response(status, http.HTTPStatus(status).phrase, headers, body)


def said(status: int, about: Mapping[str, Any]) -> Response:
    """A response in JSON."""
    return answer(status, (json.dumps(about, ensure_ascii=False) + "\n").encode(), "application/json")


def refused(
    status: int, code: str, message: str, retry_after: float | None = None, param: str | None = None
) -> Response:
    """An error as clients of OpenAI's HTTP know it, with the time after which to come again."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body: dict[str, Any] = {"error": {"type": kind, "code": code, "message": message}}
    if param is not None:
        body["error"]["param"] = param
    if retry_after is not None:
        body["error"]["retry_after"] = retry_after
    extra = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
    if status == 401:
        extra["WWW-Authenticate"] = "Bearer"
    return answer(status, (json.dumps(body, ensure_ascii=False) + "\n").encode(), "application/json", extra)


def models(names: tuple[str, ...], created: int) -> Response:
    """`/v1/models`, as OpenAI's."""
    listed = [{"id": name, "object": "model", "created": created, "owned_by": "omni"} for name in names]
    return said(200, {"object": "list", "data": listed})
