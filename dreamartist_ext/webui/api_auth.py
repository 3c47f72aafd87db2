"""Who may call our routes: the WebUI protects its own routes only, so ours ask for its accounts themselves."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fastapi import Request

Account = tuple[str, str]  # user, password
Door = Callable[[Request], bool]  # whether a request may pass


def webui_door(app: Any, cmd_opts: Any) -> Door:
    """Open to all where the WebUI was started without accounts, and to their owners otherwise.

    An account of --api-auth or of --gradio-auth is shown by HTTP Basic, one of --gradio-auth also by the page's login;
    so is one of SD.Next's --auth.
    """
    flags = [getattr(cmd_opts, name, None) for name in ("api_auth", "gradio_auth", "gradio_auth_path")]
    of_sdnext = [getattr(cmd_opts, name, None) for name in ("auth", "auth_file")]
    if not any([*flags, *of_sdnext]) and getattr(app, "auth", None) is None:
        return lambda request: True
    accounts = (*webui_accounts(*flags), *sdnext_accounts(*of_sdnext))

    def may_pass(request: Request) -> bool:
        return has_account(request.headers.get("authorization", ""), accounts) or is_logged_in(request, app)

    return may_pass


def webui_accounts(api_auth: str | None, gradio_auth: str | None, gradio_auth_path: str | None) -> tuple[Account, ...]:
    """As the WebUI reads them: "user:password" between commas, in files also between lines; a user's last one counts.

    Only --gradio-auth allows for spaces around them.
    """
    lines = [gradio_auth or ""]
    if gradio_auth_path:
        lines += Path(gradio_auth_path).read_text(encoding="utf-8").split("\n")
    for_pages = (entry.strip() for line in lines for entry in line.split(","))
    return (*_accounts((api_auth or "").split(",")), *_accounts(for_pages))


def sdnext_accounts(auth: str | None, auth_file: str | None) -> tuple[Account, ...]:
    """As SD.Next reads them: "user:password" between commas or lines, with quotation marks that count for nothing."""
    text = auth or ""
    if auth_file and Path(auth_file).is_file():
        text += "\n" + Path(auth_file).read_text(encoding="utf-8")
    entries = text.replace('"', "").replace("\n", ",").split(",")
    parts = (entry.partition(":") for entry in entries)
    return tuple(_accounts(f"{user.strip()}{colon}{password.strip()}" for user, colon, password in parts))


def _accounts(entries: Iterable[str]) -> list[Account]:
    parts = (entry.partition(":") for entry in entries)
    return list({user: password for user, colon, password in parts if colon}.items())


def has_account(authorization: str, accounts: Iterable[Account]) -> bool:
    """Whether a header "Basic ..." names one of the accounts; takes as long for wrong ones as for right ones."""
    scheme, _, code = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, colon, password = base64.b64decode(code, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    matches = [_same(user, name) & _same(password, word) for name, word in accounts]
    return bool(colon) and any(matches)


def _same(given: bytes, wanted: str) -> bool:
    return secrets.compare_digest(given, wanted.encode())


def is_logged_in(request: Request, app: Any) -> bool:
    """Whether the request has the cookie of a login on the WebUI's page, and comes from no other site's page.

    Browsers send gradio's cookie along with whatever another site makes them ask for.
    """
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    ending = f"-{app.cookie_id}" if hasattr(app, "cookie_id") else ""  # gradio 4's name has one
    cookies = (request.cookies.get(name + ending) for name in ("access-token", "access-token-unsecure"))
    return any(cookie in getattr(app, "tokens", {}) for cookie in cookies if cookie)
