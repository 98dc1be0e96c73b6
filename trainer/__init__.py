"""The trusted side of training: data, tokenizer, clock, sealed evaluation. Never imports server.

train.py writes `from trainer import Session`; everything else here runs outside train.py's process.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.session import Session as Session


def __getattr__(name: str) -> Any:
    # Session needs torch (seconds to import); the supervisor imports this package too and must start at once.
    if name == "Session":
        from trainer.session import Session

        return Session
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")
