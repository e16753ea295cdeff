"""The pages of some studies, served to this machine alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tuner.errors import UsageError
from tuner.report.live.study import LiveStudy
from tuner.report.page.html import render_studies, render_waiting

HOST = "127.0.0.1"
_FIRST_PORT = 8088
_MOST_CURVES = 20
_CHANGES = {"since": "-1", "patience": "0"}
"""What a page says as it asks for changes, unless it does: the version that it has, and the seconds that it waits."""
_MOST_PATIENCE_SECONDS = 10
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class LiveServer(ThreadingHTTPServer):
    """Answers GET requests from this machine, each in a thread."""

    daemon_threads = True

    def __init__(self, studies: Callable[[], Mapping[str, LiveStudy | None]], *, port: int | None = None) -> None:
        """Begin to listen.

        Args:
            studies: Gives those to show by name, None for one that has not begun yet.
            port: Where to; None for one that is free.

        Raises:
            UsageError: the port is taken.
        """
        self.studies = studies
        for wanted in (_FIRST_PORT, 0) if port is None else (port,):
            try:
                super().__init__((HOST, wanted), _Handler)
            except OSError as error:
                if port is not None:
                    raise UsageError(
                        f"port {port} cannot be had ({error.strerror}); leave --port out, and a free one is taken"
                    ) from error
                continue
            return
        raise UsageError("no port of this machine is free")

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LiveServer

    def do_GET(self) -> None:
        try:
            self._check_host()
            content, kind = self._answer()
        except _RefusedError as refused:
            self._send(refused.status, f"{refused}\n", "text/plain; charset=utf-8")
        else:
            self._send(HTTPStatus.OK, content, kind)

    def _check_host(self) -> None:
        """A page of another name, which leads here, could read what we answer: names are refused."""
        name, _, port = self.headers.get("Host", "").rpartition(":")
        if name not in (HOST, "localhost") or port != str(self.server.server_address[1]):
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"this is served as {self.server.address} alone")

    def _answer(self) -> tuple[str, str]:
        address = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
        match [unquote(part) for part in address.path.split("/")[1:]]:
            case [""]:
                studies = self.server.studies()
                standing = {name: None if study is None else study.standing for name, study in studies.items()}
                return render_studies(
                    {f"{quote(name, safe='')}/": (name, now) for name, now in standing.items()}
                ), _HTML
            case [name, *rest] if name in (studies := self.server.studies()):
                if (study := studies[name]) is not None:
                    return self._of_study(study, rest, asked)
                if rest == [""]:
                    return render_waiting(name), _HTML
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page here")

    def _of_study(self, study: LiveStudy, rest: list[str], asked: Mapping[str, str]) -> tuple[str, str]:
        dump = partial(json.dumps, separators=(",", ":"), allow_nan=False)
        match rest:
            case [""]:
                return study.page(), _HTML
            case ["sections"]:
                return study.sections(), _HTML
            case ["changes"]:
                since, patience = (_numbers(asked.get(name, default))[0] for name, default in _CHANGES.items())
                return dump(study.changes(since, patience_seconds=min(patience, _MOST_PATIENCE_SECONDS))), _JSON
            case ["curves"]:
                return dump(study.curves(_numbers(asked.get("trials", ""))[:_MOST_CURVES])), _JSON
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page here")

    def _send(self, status: HTTPStatus, content: str, kind: str) -> None:
        body = content.encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page was closed meanwhile

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: each open page asks all the time."""


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "numbers, with commas between them, are expected") from error
