"""Keeps the server from opening what a request names: it works with uploads alone, no other path, no address."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from isdiff.errors import UserError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LONGEST_BODY = 1_000_000  # bytes of a JSON body: names, numbers and texts; pictures come as uploads
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


class UploadsOnly:
    """ASGI middleware: answers 403 where a request names a file that was not uploaded, or an address.

    Gradio refuses such paths too, but downloads from addresses; here neither gets so far.

    Args:
        folder: where uploads are.
    """

    def __init__(self, app: App, folder: str) -> None:
        self.app, self.folder = app, folder

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await self.checked(scope, receive, send)
        except ClientDisconnect:  # the visitor left in the middle of an upload
            return

    async def checked(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if any(f"{kind}=" in scope["path"] and ":/" in scope["path"].split(f"{kind}=", 1)[1]
               for kind in ("file", "proxy")):  # fmt: skip
            return await refuse(send)
        headers = dict(scope.get("headers", []))
        if scope["method"] != "POST" or headers.get(b"content-type", b"").startswith(b"multipart/"):
            return await self.app(scope, receive, send)
        try:
            body = await whole_body(receive)
        except UserError:
            return await refuse(send)
        try:
            if names_others(json.loads(body or b"null"), self.folder):
                return await refuse(send)
        except (ValueError, RecursionError):
            return await refuse(send)
        read = False

        async def again() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


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


async def refuse(send: Send) -> None:
    text = json.dumps({"detail": REFUSAL}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})
