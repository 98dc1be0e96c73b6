"""A page fetched: one request after another, each address looked at, redirects followed by us, all of it bounded."""

import re
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import cache
from ssl import SSLContext, SSLError

import httpcore2
import httpx2

from server import __version__
from server.errors import SourceUnreachable
from server.library.document import Fetched
from server.library.fetching.body import ENCODINGS, unpacked
from server.library.fetching.reach import Deadline, Reach
from server.library.fetching.sources import without_secrets
from trainer.contract import utc_now

_HEADERS = {
    "User-Agent": f"autoresearch/{__version__} (reference library: fetches what its operator names)",
    "Accept": "text/html,application/xhtml+xml,application/pdf;q=0.9,text/markdown;q=0.9,text/plain;q=0.8,*/*;q=0.5",
    "Accept-Encoding": ENCODINGS,
    "Accept-Language": "en,*;q=0.5",
}
_LOGIN = re.compile(
    r"(?:^|[/._-])(?:log-?in|sign-?in|sign_?up|sso|oauth2?|saml2?|authorize|authenticate|session/new|wayf|consent)"
    r"(?:$|[/._?-])",
    re.IGNORECASE,
)
_LOGIN_HOST = re.compile(r"^(?:accounts?|login|signin|auth|sso|idp|consent)\.", re.IGNORECASE)
_SAVE = "save it in a browser as HTML or PDF, and add the file."
_REFUSALS = {
    401: ("It asks for a login.", f"Log in with a browser, {_SAVE}"),
    402: ("It asks for payment.", f"Where you have access, {_SAVE}"),
    403: ("It refuses programs, or asks for a login.", f"Where a browser shows it, {_SAVE}"),
    404: ("There is no such page.", "Correct the address."),
    407: ("A proxy in between asks for a login.", f"Where a browser shows it, {_SAVE}"),
    410: ("The page is gone for good.", "Look for it at web.archive.org, and add what is there."),
    429: ("The server has had too many requests.", "Call again later."),
    451: ("The page is withheld for legal reasons.", "Correct the address."),
}
_FIRST_WORDS = ("It", "Nothing", "That", "The", "There")
_NAME = 200  # characters of an address in a sentence
_NETWORK_STEP = "Check the network and the address."


@dataclass(frozen=True)
class Limits:
    """How much a source may take."""

    read_seconds: float = 10  # without a byte
    seconds: float = 30  # all of it, redirects included
    most_bytes: int = 20_000_000  # packed or unpacked
    redirects: int = 5


class Missing(SourceUnreachable):
    """The server answers that there is no such page, or an empty one: another address may have it."""


class Pace:
    """At most one request in so many seconds to the same host."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds, self._last = seconds, dict[str, float]()

    def wait(self, host: str) -> None:
        """Wait until the host may be asked again."""
        wait = self._last.get(host, 0) + self._seconds - time.monotonic()
        if host in self._last and wait > 0:
            time.sleep(wait)
        self._last[host] = time.monotonic()


class Web:
    """Fetches pages."""

    def __init__(self, reach: Reach, limits: Limits | None = None, pace: Pace | None = None) -> None:
        self._reach, self._limits, self._pace = reach, limits or Limits(), pace or Pace()

    def fetch(self, address: str, name: str = "") -> Fetched:
        """The page at an address.

        Args:
            name: what is saved as its source; default: the address, without secrets.

        Raises:
            Missing: there is none. SourceUnreachable: for another reason; the sentence begins with the name.
        """
        shown = name or without_secrets(address)
        try:
            return self._fetched(address, shown)
        except SourceUnreachable as error:
            head, _, rest = error.problem.partition(" ")
            problem = f"{head.lower()} {rest}" if head in _FIRST_WORDS else error.problem
            told = f"{shown[:_NAME]}: {problem}"
            raise type(error)(told, error.next_step) from None

    def _fetched(self, address: str, shown: str) -> Fetched:
        deadline = Deadline(self._limits.seconds)
        with _client(self._reach, deadline, self._limits.read_seconds) as client:
            url = _url(address)
            for _ in range(self._limits.redirects + 1):
                self._pace.wait(url.host)
                with _answer(client, url) as response:
                    if "location" in response.headers and response.status_code in (301, 302, 303, 307, 308):
                        url = _followed(url, response.headers["location"])
                        continue
                    _require_good(response)
                    data = self._body(response)
                    if not data.strip():
                        raise Missing("The page is empty.", "Look at it in a browser.")
                    return _made(data, response, shown, str(url))
        raise SourceUnreachable(
            f"It redirects more than {self._limits.redirects} times.", f"Where a browser shows it, {_SAVE}"
        )

    def _body(self, response: httpx2.Response) -> bytes:
        most = self._limits.most_bytes
        told = response.headers.get("content-length", "")
        if told.isdecimal() and len(told) < 20 and int(told) > most:
            step = "Add the part that matters, as a file of its own."
            raise SourceUnreachable(f"It has {int(told) / 1e6:,.1f} MB: {most / 1e6:.3g} are read.", step)
        return unpacked(response.iter_raw(), response.headers.get("content-encoding", ""), most)


def _made(data: bytes, response: httpx2.Response, shown: str, address: str) -> Fetched:
    told = Message()
    told["content-type"] = response.headers.get("content-type", "")
    charset = told.get_content_charset() or ""
    return Fetched(
        data=data,
        source=shown,
        final_url=without_secrets(address),
        content_type=told.get_content_type() if told["content-type"] else "",
        charset=charset if charset.isascii() and charset.isprintable() else "",
        fetched=utc_now(),
    )


def _require_good(response: httpx2.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    problem, step = _REFUSALS.get(status, (f"The server answers with status {status}.", "Call again later."))
    raise (Missing if status in (404, 410) else SourceUnreachable)(problem, step[0].upper() + step[1:])


def _followed(url: httpx2.URL, location: str) -> httpx2.URL:
    """Where a redirect leads. Raises SourceUnreachable: nowhere that is followed."""
    try:
        found = url.join(location)
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise SourceUnreachable(
            "It redirects to something that is not an address.", f"Where a browser shows it, {_SAVE}"
        ) from None
    if found.scheme not in ("http", "https") or not found.host:
        raise SourceUnreachable(f"It redirects to {found.scheme}:, which is not fetched.", "Correct the address.")
    if url.scheme == "https" and found.scheme == "http":
        raise SourceUnreachable(
            "It redirects from https to http, where anybody could change it.", f"To have it, {_SAVE}"
        )
    if _is_login(found) and not _is_login(url):
        raise SourceUnreachable("It asks for a login.", f"Log in with a browser, {_SAVE}")
    return found


def _is_login(url: httpx2.URL) -> bool:
    return bool(_LOGIN.search(url.path) or _LOGIN_HOST.search(url.host))


def _url(address: str) -> httpx2.URL:
    try:
        url = httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise SourceUnreachable("That is not a web address.", "Correct it.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise SourceUnreachable("That is not a web address.", "Correct it.")
    return url


@contextmanager
def _answer(client: httpx2.Client, url: httpx2.URL) -> Generator[httpx2.Response]:
    """A response whose body is yet to be read. What goes wrong in between is told in one sentence."""
    try:
        with client.stream("GET", url, headers=_HEADERS) as response:
            yield response
    except (httpcore2.TimeoutException, httpx2.TimeoutException):
        raise SourceUnreachable("The server stopped answering.", "Call again later.") from None
    except (httpcore2.ConnectError, httpcore2.NetworkError, OSError) as error:
        raise _of_connection(error, url) from None
    except (httpcore2.ProtocolError, httpx2.HTTPError, httpx2.InvalidURL, ValueError, UnicodeError):
        raise SourceUnreachable("The server's answer breaks off or is not HTTP.", _NETWORK_STEP) from None


def _of_connection(error: Exception, url: httpx2.URL) -> SourceUnreachable:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLError):
            told = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "no TLS"
            return SourceUnreachable(
                f"The connection to {url.host} is not safe: {str(told).lower()}.", "Look at it in a browser."
            )
        cause = cause.__cause__ or cause.__context__
    return SourceUnreachable("The connection broke off.", _NETWORK_STEP)


class _Stream(httpcore2.NetworkStream):
    """A connection that ends with the deadline, however slowly it gives its bytes."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: Deadline, read_seconds: float) -> None:
        self._inner, self._deadline, self._read_seconds = inner, deadline, read_seconds

    @contextmanager
    def _within(self) -> Generator[float]:
        """The seconds of one step. Raises SourceUnreachable: those of all steps are over, before it or in it."""
        try:
            yield self._deadline.left(self._read_seconds)
        except httpcore2.TimeoutException:
            self._deadline.left(self._read_seconds)
            raise

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self._within() as seconds:
            return self._inner.read(max_bytes, seconds)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with self._within() as seconds:
            self._inner.write(buffer, seconds)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        with self._within() as seconds:
            secured = self._inner.start_tls(ssl_context, server_hostname, seconds)
        return _Stream(secured, self._deadline, self._read_seconds)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Connects to addresses that may be, and to nothing else."""

    def __init__(self, reach: Reach, deadline: Deadline, read_seconds: float) -> None:
        self._reach, self._deadline, self._read_seconds = reach, deadline, read_seconds
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore2.NetworkStream:
        def connect(address: str, port: int, seconds: float) -> httpcore2.NetworkStream:
            return self._plain.connect_tcp(address, port, seconds)

        made = self._reach.connect(host, port, self._deadline, connect)
        return _Stream(made, self._deadline, self._read_seconds)


class _Transport(httpx2.BaseTransport):
    """httpx2's own, with connections of ours: it offers no other way to say how one is made."""

    def __init__(self, backend: _Backend) -> None:
        self._pool = httpcore2.ConnectionPool(ssl_context=_tls(), max_connections=1, network_backend=backend)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        place = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = self._pool.handle_request(
            httpcore2.Request(request.method, place, headers=request.headers.raw, extensions=request.extensions)
        )
        assert isinstance(answer.stream, Iterable)
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    def close(self) -> None:
        self._pool.close()


@cache
def _tls() -> SSLContext:
    """The certificates that are trusted here: those of the system, or of SSL_CERT_FILE. Reading them takes a moment."""
    return httpx2.create_ssl_context()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        if close := getattr(self._stream, "close", None):
            close()


def _client(reach: Reach, deadline: Deadline, read_seconds: float) -> httpx2.Client:
    """A client that takes nothing from the environment: no proxy, no netrc."""
    backend = _Backend(reach, deadline, read_seconds)
    return httpx2.Client(transport=_Transport(backend), trust_env=False, follow_redirects=False)
