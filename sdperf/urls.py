"""Mask credentials in URLs and connection strings as ``***``, before they are shown or stored."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

MASK: Final = "***"

_END: Final = re.compile(r"[\s'\"<>`]")
_TOKEN_SCHEMES: Final = ("http", "https", "git", "ssh")
"""Schemes whose user name alone is often a token."""

_HARMLESS: Final = frozenset(
    {
        *("application_name", "cache", "channel_binding", "charset", "client_encoding"),
        *("connect_timeout", "dbname", "gssencmode", "host", "hostaddr", "immutable", "keepalives"),
        *("mode", "port", "sslmode", "target_session_attrs", "timeout", "uri", "user"),
    }
)
"""Parameters of a URL whose values are shown; any other could be a secret or name its file."""

_WORD: Final = re.compile(
    r"(?i)(password|passwd|passfile|sslpassword|sslkey|secret|token|api_?key)(=)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)"
)


def mask_url(url: str) -> str:
    """Return a whole URL without the credentials in it.

    >>> mask_url("postgresql://u:S@host/db?sslmode=require&password=S")
    'postgresql://u:***@host/db?sslmode=require&password=***'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    return scheme + separator + _mask_rest(scheme, rest)


def mask_credentials(text: str) -> str:
    """Return a text without the credentials of the URLs and connection strings in it.

    >>> mask_credentials("got: https://TOKEN@host/x; do: try again")
    'got: https://***@host/x; do: try again'
    """
    if "://" in text:
        pieces, position = [], 0
        while (found := text.find("://", position)) >= 0:
            start = found + 3
            ended = _END.search(text, start)
            end = len(text) if ended is None else ended.start()
            scheme = re.split(r"[^A-Za-z0-9+.-]", text[max(position, found - 40) : found])[-1]
            pieces += [text[position:start], _mask_rest(scheme, text[start:end])]
            position = end
        text = "".join([*pieces, text[position:]])
    return _WORD.sub(rf"\1\2{MASK}", text)


def _mask_rest(scheme: str, rest: str) -> str:
    """Mask the text after ``://``: first the parameters, then the part before the host."""
    place, separator, query = rest.partition("?")
    if separator:
        parts = re.split(r"([&;])", query)
        rest = place + separator + "".join(map(_mask_parameter, parts))
    user, separator, host = rest.rpartition("@")
    if not separator:
        return rest
    name, colon, _ = user.partition(":")
    if colon:
        return f"{name}:{MASK}@{host}"
    is_token = scheme.lower().rpartition("+")[2] in _TOKEN_SCHEMES and "/" not in user
    return f"{MASK}@{host}" if is_token and user != "git" else rest


def _mask_parameter(part: str) -> str:
    key, separator, value = part.partition("=")
    if not separator or not value or unquote_plus(key).strip().lower() in _HARMLESS:
        return part
    return f"{key}={MASK}"
