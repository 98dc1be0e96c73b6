"""Why nothing can be read out of a source, and the sentences that say so. Pure."""

from enum import StrEnum


class Reason(StrEnum):
    """What is wrong with a source."""

    EMPTY = "empty"
    LOGIN = "login"
    SCRIPTED = "scripted"
    SCANNED = "scanned"
    ENCRYPTED = "encrypted"
    DAMAGED = "damaged"
    BINARY = "binary"
    LARGE = "large"
    DEEP = "deep"
    TIME = "time"
    MEMORY = "memory"
    CRASHED = "crashed"
    NO_EXTRA = "no extra"


class Unreadable(Exception):
    """Raised where the source is read, which is in another process than whoever asks."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


EXTRA = "pip install autoresearch-mcp[library]"
_SAVE = "Save the page in a browser, as HTML or PDF, and add that file."
_OTHER = "Add another form of it: HTML, a PDF with text, Markdown or plain text."
# For each reason one sentence (the source and a detail are put in), and the next step.
SENTENCES: dict[Reason, tuple[str, str]] = {
    Reason.EMPTY: ("{source} has no text to read.", _SAVE),
    Reason.LOGIN: (
        "{source} shows a login page, not its text.",
        "Log in with a browser, " + _SAVE[0].lower() + _SAVE[1:],
    ),
    Reason.SCRIPTED: (
        "{source} shows its text only to a browser that runs scripts, or asks whether you are human.",
        _SAVE,
    ),
    Reason.SCANNED: (
        "{source} is a PDF of images without text, such as a scan.",
        "Run it through a text recognition, for example `ocrmypdf`, and add the result.",
    ),
    Reason.ENCRYPTED: (
        "{source} is a PDF that needs a password.",
        "Remove the password, for example with `qpdf --decrypt`, and add the result.",
    ),
    Reason.DAMAGED: ("{source} is damaged: {detail}.", "Download it again."),
    Reason.BINARY: ("{source} is {detail}, which holds no text that can be read.", _OTHER),
    Reason.LARGE: ("{source} is too large: {detail}.", "Add the part that matters, as a file of its own."),
    Reason.DEEP: ("{source} is nested too deeply to be read.", _OTHER),
    Reason.TIME: ("{source} takes too long to read: {detail}.", "Add the part that matters, as a file of its own."),
    Reason.MEMORY: ("{source} takes too much memory to read.", "Add the part that matters, as a file of its own."),
    Reason.CRASHED: ("{source} crashes the program that reads it ({detail}).", _OTHER),
    Reason.NO_EXTRA: ("The reference library is not installed: {detail} is missing.", f"Run `{EXTRA}`."),
}
