"""Who may ask the server for what: from its own page alone, within a visitor's share, and no file but uploads."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost", "::1")
ASKED = re.compile(r"/gradio_api/(upload|queue/join|cancel|reset|run/\w+)/?")  # what the page posts
DECIDING = ("host", "x-forwarded-host", "origin", "content-length")
LONGEST_BODY = 4_000_000  # bytes of a JSON body: names, numbers, texts and paint; pictures come as uploads
LARGEST_UPLOAD = 65 << 20  # bytes of one request
FILES, DESKS = 128, 64  # uploads, and what visitors have, that are kept
REFUSAL = "files are uploaded here; addresses and paths are not opened"


def is_inside(path: object, folder: str) -> bool:
    """Whether it is the path of something in a folder."""
    if not isinstance(path, str) or "://" in path or "\0" in path:
        return False
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def names_others(value: Any, folder: str) -> bool:
    """Whether a file in what was sent, at any depth, is none in ``folder``, where the server puts uploads."""
    if isinstance(value, dict):
        if value.get("path") is not None and not is_inside(value["path"], folder):
            return True
        value = list(value.values())
    return isinstance(value, list) and any(names_others(part, folder) for part in value)


class Shares(dict[str, str]):
    """Whose each of at most ``most`` things is; where there is no more room, whoever has most loses the oldest."""

    def __init__(self, most: int) -> None:
        self.most = most

    def take(self, thing: str, owner: str) -> str | None:
        """The thing that has to go."""
        self.pop(thing, None)
        self[thing] = owner
        if len(self) <= self.most:
            return None
        ((greediest, _),) = Counter(self.values()).most_common(1)
        gone = next(thing for thing, owner in self.items() if owner == greediest)
        del self[gone]
        return gone


class Refused(Exception):
    """A request that must not get through; says why."""


class Guard:
    """ASGI middleware that answers 403 to what its own page does not ask for.

    Such a request comes from another site's page, names a file that was not uploaded or an address, or goes beyond a
    visitor's share. Gradio refuses such paths too, but downloads from addresses; here neither gets so far.

    Args:
        folder: where uploads are.
    """

    def __init__(self, app: App, folder: str) -> None:
        self.app, self.folder, self.files = app, folder, Shares(FILES)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                receive, send = await self.check(scope, receive, send)
            await self.app(scope, receive, send)
        except Refused as refused:
            await JSONResponse({"detail": str(refused)}, 403)(scope, receive, send)
        except ClientDisconnect:  # the visitor left in the middle of an upload
            return

    async def check(self, scope: Message, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """What the application is to read from and to write to; a request that must not get through is refused."""
        path, headers = scope["path"], check_headers(Headers(scope=scope))
        visitor = scope["client"][0] if scope.get("client") else ""
        if any(f"{kind}=" in path and ":/" in path.split(f"{kind}=", 1)[1] for kind in ("file", "proxy")):
            raise Refused(REFUSAL)
        if scope["method"] != "POST":
            return receive, send
        if (asked := ASKED.fullmatch(path)) is None:
            raise Refused("there is nothing of that name here")
        if asked[1] == "upload":
            length = headers.get("content-length", "")
            if not length.isdecimal() or int(length) > LARGEST_UPLOAD:
                raise Refused("this is too large")
            return receive, self.noting(send, visitor)
        body = b""
        async for part in Request(scope, receive).stream():
            body += part
            if len(body) > LONGEST_BODY:
                raise Refused(REFUSAL)
        try:
            if names_others(json.loads(body or b"null"), self.folder):
                raise Refused(REFUSAL)
        except (ValueError, RecursionError):
            raise Refused(REFUSAL) from None
        parts = [body]

        async def again() -> Message:
            return {"type": "http.request", "body": parts.pop(), "more_body": False} if parts else await receive()

        return again, send

    def noting(self, send: Send, visitor: str) -> Send:
        """``send`` for the answer to an upload, a list of where its files are."""

        async def noted(message: Message) -> None:
            if (body := message.get("body", b"")).startswith(b"["):
                for path in json.loads(body):
                    if (gone := self.files.take(path, visitor)) is not None and is_inside(gone, self.folder):
                        Path(gone).unlink(missing_ok=True)
            await send(message)

        return noted


def check_headers(headers: Headers) -> Headers:
    """The headers; refused where one that decides is there twice, or they come from the page of another site."""
    if any(len(headers.getlist(name)) > 1 for name in DECIDING):
        raise Refused("a header came twice")
    origin = headers.get("origin")
    hosts = {headers.get("host"), headers.get("x-forwarded-host")}  # the second where a proxy stands in front
    if origin is not None and origin.partition("://")[2] not in hosts - {""}:
        raise Refused("this comes from the page of another site")
    return headers
