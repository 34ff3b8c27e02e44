"""Who may ask the server for what: from its own page alone, within a visitor's share, and no file but uploads."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect

from isdiff.errors import UserError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost", "::1")
ASKED = re.compile(r"/gradio_api/(upload|queue/join|cancel|reset|run/\w+)/?")  # what the page posts
DECIDING = (b"host", b"x-forwarded-host", b"origin", b"content-length")
LONGEST_BODY = 1_000_000  # bytes of a JSON body: names, numbers and texts; pictures come as uploads
LARGEST_UPLOAD = 65 << 20  # bytes of one request
FILES, SESSIONS = 128, 64  # uploads and photographs that are kept
REFUSAL = "files are uploaded here; addresses and paths are not opened"


def is_inside(path: object, folder: str) -> bool:
    if not isinstance(path, str) or "://" in path or "\0" in path:
        return False
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def names_others(value: Any, folder: str) -> bool:
    """Whether a file in what was sent, at any depth, is none in ``folder``, where the server puts uploads."""
    if isinstance(value, dict):
        named = "path" in value and value["path"] is not None and not is_inside(value["path"], folder)
        return named or any(names_others(part, folder) for part in value.values())
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
        (greediest, _), *_ = Counter(self.values()).most_common(1)
        gone = next(thing for thing, owner in self.items() if owner == greediest)
        del self[gone]
        return gone


class Guard:
    """ASGI middleware: answers 403 where a request comes from another site's page, names a file that was not uploaded
    or an address, or goes beyond a visitor's share.

    Gradio refuses such paths too, but downloads from addresses; here neither gets so far.

    Args:
        folder: where uploads are.
        keep: is told the sessions that have a place; all others are to go.
    """

    def __init__(self, app: App, folder: str, keep: Callable[[Collection[str]], None]) -> None:
        self.app, self.folder, self.keep = app, folder, keep
        self.sessions, self.files = Shares(SESSIONS), Shares(FILES)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                receive, send = await self.checked(scope, receive, send)
        except (UserError, ValueError, RecursionError) as error:
            return await refuse(send, str(error) if isinstance(error, UserError) else REFUSAL)
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:  # the visitor left in the middle of an upload
            return

    async def checked(self, scope: Message, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """What the application is to read from and to write to.

        Raises:
            UserError, ValueError: the request is refused.
        """
        path, headers = scope["path"], check_headers(scope["headers"])
        visitor = scope["client"][0] if scope.get("client") else ""
        if any(f"{kind}=" in path and ":/" in path.split(f"{kind}=", 1)[1] for kind in ("file", "proxy")):
            raise UserError(REFUSAL)
        if "/heartbeat/" in path:
            self.place(path.split("/heartbeat/", 1)[1], visitor)
        if scope["method"] != "POST":
            return receive, send
        if (asked := ASKED.fullmatch(path)) is None:
            raise UserError("there is nothing of that name here")
        if asked[1] == "upload":
            if int(headers.get(b"content-length", b"")) > LARGEST_UPLOAD:
                raise UserError("this is too large")
            return receive, self.noting(send, visitor)
        body = await whole_body(receive)
        said = json.loads(body or b"null")
        if names_others(said, self.folder):
            raise UserError(REFUSAL)
        if isinstance(said, dict):
            self.place(said.get("session_hash"), visitor)
        parts = [body]

        async def again() -> Message:
            return {"type": "http.request", "body": parts.pop(), "more_body": False} if parts else await receive()

        return again, send

    def place(self, session: object, visitor: str) -> None:
        if isinstance(session, str) and self.sessions.take(session, visitor) is not None:
            self.keep(self.sessions)

    def noting(self, send: Send, visitor: str) -> Send:
        """``send`` for the answer to an upload, a list of where its files are."""

        async def noted(message: Message) -> None:
            if (body := message.get("body", b"")).startswith(b"["):
                for path in json.loads(body):
                    if (gone := self.files.take(path, visitor)) is not None and is_inside(gone, self.folder):
                        Path(gone).unlink(missing_ok=True)
            await send(message)

        return noted


def check_headers(given: Collection[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by name.

    Raises:
        UserError: one that decides is there twice, or they come from the page of another site.
    """
    headers = dict(given)
    if any(count > 1 and name in DECIDING for name, count in Counter(name for name, _ in given).items()):
        raise UserError("a header came twice")
    origin = headers.get(b"origin")
    hosts = {headers.get(b"host"), headers.get(b"x-forwarded-host")}  # the second where a proxy stands in front
    if origin is not None and urlsplit(origin).netloc not in hosts - {b""}:
        raise UserError("this comes from the page of another site")
    return headers


async def whole_body(receive: Receive) -> bytes:
    """
    Raises:
        UserError: it is too long, or the sender has gone.
    """
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LONGEST_BODY or message["type"] != "http.request":
            raise UserError(REFUSAL)
        if not message.get("more_body"):
            return body


async def refuse(send: Send, why: str) -> None:
    text = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})
