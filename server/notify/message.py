"""What the operator is told. Pure."""

from server.records import Value


class Message(Value):
    """What the operator is told."""

    event: str  # over, stuck, kept, first, digest or test
    title: str
    text: str
    study: str = ""
    urgent: bool = False
    report: str = ""  # the report's HTML, where the operator wants it sent along
