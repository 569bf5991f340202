"""Asking a server: over https, with an end to waiting and to redirects."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from email.message import Message
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

SILENCE = 30.0  # seconds without a byte, at connecting or later, after which a try is given up
REDIRECTS = 5
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class Final(Exception):
    """What asking again would not change."""


class Again(Exception):
    """What may be over in a moment."""


class Beyond(Again):
    """The file ends before the place that was asked for."""


@contextlib.contextmanager
def asked(url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    """The answer of `url`, open.

    Parameters
    ----------
    url
        Where to ask; redirects are followed.
    headers
        What to say beside who asks.

    Raises
    ------
    Again, Final
        There is no answer, or not one that brings a file.
    """
    import embedkit

    # `_opener` knows no other protocols than http and https, and its callers ask `allowed` first.
    request = Request(url, headers={"User-Agent": f"embedkit/{embedkit.__version__}", **headers})  # noqa: S310
    try:
        response: http.client.HTTPResponse = _opener(local=is_local(url)).open(request, timeout=SILENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            raise Beyond("has no more than the part that is here") from error
        if 300 <= error.code < 400:
            raise Final(f"redirects in circles, or more than {REDIRECTS} times") from error
        kind = Again if error.code in _TRANSIENT else Final
        raise kind(f"answered {error.code} {error.reason}") from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise Final(f"cannot prove who it is ({error.reason.verify_message})") from error
        raise Again(reason(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise Again(reason(error)) from error
    with response:
        yield response


def reason(error: object) -> str:
    """What went wrong with the network, in a few words."""
    if isinstance(error, TimeoutError):
        return f"nothing came for {SILENCE:g} s"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"broke off ({type(error).__name__})" if isinstance(error, http.client.HTTPException) else str(error)


def _opener(*, local: bool) -> OpenerDirector:
    # Not urllib's default, which would follow an address into ftp:, file: and data: as well.
    opener = OpenerDirector()
    for handler in (
        ProxyHandler({} if local else None),
        _Plain(),
        _Secure(),
        _Redirects(local=local),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Hurried(http.client.HTTPConnection):
    """Gives up on a server whose headers drip: each byte in time, all of them never."""

    def getresponse(self) -> http.client.HTTPResponse:
        over = threading.Event()

        def give_up() -> None:
            over.set()
            with contextlib.suppress(OSError, AttributeError):
                self.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(2 * SILENCE, give_up)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        finally:
            timer.cancel()
        if over.is_set():
            response.close()
            raise TimeoutError
        return response


class _HurriedSecure(_Hurried, http.client.HTTPSConnection):
    pass


class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_Hurried, req)


class _Secure(HTTPSHandler):
    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_HurriedSecure, req, context=ssl.create_default_context())


class _Redirects(HTTPRedirectHandler):
    max_redirections = REDIRECTS
    max_repeats = REDIRECTS

    def __init__(self, *, local: bool) -> None:
        self._local = local

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if not allowed(newurl, local=self._local):
            fp.close()
            raise Final(f"redirects to {newurl}, which is not an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # Message will do


def allowed(url: str, *, local: bool) -> bool:
    """Whether to ask `url`: https, or http within this machine if it began there."""
    return urlsplit(url).scheme == "https" or (local and urlsplit(url).scheme == "http" and is_local(url))


def is_local(url: str) -> bool:
    """Whether `url` is of this machine."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
