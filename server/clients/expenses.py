"""What a driven client has cost so far: read from its log, stored with the study, and compared with the limits."""

import re
from contextlib import suppress
from pathlib import Path

from server.clients.usage import LogTail, Meter, Spent
from server.paths import StudyPaths
from server.reporting.bill import AgentBill, read_agent_bill, tokens_in_words, write_agent_bill

_NO_SUCH_OPTION = re.compile(
    rb"(?i)(unknown|unrecognized|unexpected|invalid|no such) (option|argument|flag|value)|unknown arguments?:"
)


class Expenses:
    """The expenses of one `drive`, added to the earlier cost of the study."""

    def __init__(self, paths: StudyPaths, client: str, log: Path) -> None:
        self._paths, self._log = paths, log
        self._before = read_agent_bill(paths) or AgentBill()
        self._client, self._starts = client, 0
        self._past, self._meter, self._tail = Spent(), Meter(), LogTail(log)
        self._written: AgentBill | None = None
        self._misunderstood = False

    @property
    def spent(self) -> Spent:
        """Since this drive began."""
        return self._past.plus(self._meter.spent)

    @property
    def told(self) -> bool:
        """Whether the client has reported anything since its last start."""
        return self._meter.spent != Spent()

    @property
    def misunderstood(self) -> bool:
        """Whether the client has rejected an option, and reported nothing, since its last start."""
        return self._misunderstood and not self.told

    def begin(self) -> None:
        """The client is started."""
        self._past, self._meter, self._misunderstood = self.spent, Meter(), False
        self._tail = LogTail(self._log)
        self._starts += 1

    def look(self) -> None:
        """Read what the client has reported since. Errors here never end a study."""
        with suppress(OSError):
            for line in self._tail.lines():
                self._misunderstood = self._misunderstood or _NO_SUCH_OPTION.search(line) is not None
                self._meter.read(line)
        if (now := self._bill()) != self._written:
            with suppress(OSError):  # a full disk: the next look tries again
                write_agent_bill(self._paths, now)
                self._written = now if self._paths.state.is_dir() else None

    def reached(self, usd: float, tokens: int) -> str:
        """Which limit is reached, 0 is none; empty if none is."""
        spent = self.spent
        if usd > 0 and (spent.usd or 0.0) >= usd:
            return f"the client has cost ${spent.usd or 0.0:.2f} of ${usd:.2f}"
        used = spent.tokens_in + spent.tokens_out
        if 0 < tokens <= used:
            return f"the client has used {tokens_in_words(used)} of {tokens_in_words(tokens)} tokens"
        return ""

    def _bill(self) -> AgentBill:
        before, spent = self._before, self.spent
        prices = [price for price in (before.usd, spent.usd) if price is not None]
        return AgentBill(
            client=self._client,
            starts=before.starts + self._starts,
            tokens_in=before.tokens_in + spent.tokens_in,
            tokens_cached=before.tokens_cached + spent.cached,
            tokens_out=before.tokens_out + spent.tokens_out,
            usd=sum(prices) if prices else None,
        )
