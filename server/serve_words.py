"""The words that start a server: where it listens by default, and which words of a command are its options."""

from collections.abc import Mapping, Sequence

DEFAULT_PORT = 8765
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"  # where a server listens unless it is told otherwise


def after_dashes(words: Sequence[str], own: Mapping[str, bool], serving: Mapping[str, bool]) -> list[str]:
    """The words of a command that starts a server, with the options of `serve` moved behind `--`.

    Args:
        own: the command's own options by name, and whether a value follows. serving: those of `serve`.

    >>> after_dashes(["sweep", "--budget", "60", "--hours", "1"], {"--hours": True}, {"--budget": True})
    ['sweep', '--hours', '1', '--', '--budget', '60']
    """
    end = words.index("--") if "--" in words else len(words)
    stay, move = list[str](), list[str]()
    at = 0
    while at < end:
        name, equals, _ = words[at].partition("=")
        known, to = (own, stay) if name in own or name not in serving else (serving, move)
        size = 2 if known.get(name) and not equals else 1
        to += words[at : min(at + size, end)]
        at += size
    after = list(words[end + 1 :])
    return [*stay, "--", *move, *after] if move or after else list(words)
