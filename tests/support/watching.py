"""`autoresearch watch` as a process, and what a browser without a window asks of it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.polling import stretched

_LINK = re.compile(r"(http://127\.0\.0\.1:(\d+)(/[\w-]+)/)#t=([\w-]+)")


class Watch:
    """A page of its own beside a study."""

    def __init__(self, workspace: Path, *options: str) -> None:
        words = ["-c", "from server.cli import main; main()", "watch", "--no-open", "--workspace", str(workspace)]
        self.process = subprocess.Popen(
            [sys.executable, *words, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "400"},
        )
        assert self.process.stdout and self.process.stderr
        self.said = self.process.stdout.readline() + self.process.stdout.readline()
        found = _LINK.search(self.said)
        assert found, self.said + self.process.stderr.read()
        self.url, self.port, self.prefix, self.token = found[1], int(found[2]), found[3], found[4]
        self.link = f"{self.url}#t={self.token}"
        self.cookie = self.csrf = ""

    def ask(self, path: str, body: Any = None, method: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers of one request below the page's path; with the cookie, once somebody has entered.

        A header that is told empty is left away.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=stretched(15))
        told = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie, "X-Csrf": self.csrf}
        told |= {"Content-Type": "application/json"} if body is not None else {}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        target = path if path.startswith("/") else f"{self.prefix}/{path}"
        sent = {name: value for name, value in told.items() if value}
        connection.request(method or ("GET" if body is None else "POST"), target, data, sent)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}

    def enter(self) -> dict[str, str]:
        """Exchange the link for a cookie. Returns the answer's headers."""
        status, text, headers = self.ask("api/session", {"token": self.token})
        assert status == 200, text
        self.cookie, self.csrf = headers["set-cookie"].partition(";")[0], json.loads(text)["csrf"]
        return headers

    def summary(self) -> dict[str, Any]:
        status, text, _ = self.ask("api/summary")
        assert status == 200, text
        return json.loads(text)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(stretched(5.0))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        with self.process:
            self.process.kill()
