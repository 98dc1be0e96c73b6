"""Something that happens at the N-th line that is run of some of the server's modules, as a kill."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import server


class Countdown:
    """Calls `stop` then. Other modules count nothing: most lines compute, and what dies there has changed nothing."""

    def __init__(self, modules: Iterable[str], lines: int, stop: Callable[[], None]) -> None:
        """`modules` are named like study/verdicts."""
        folder = Path(str(server.__file__)).parent
        self._files = {str(folder / f"{name}.py") for name in modules}
        self._left, self._stop = lines, stop

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """For sys.settrace."""
        if frame.f_code.co_filename not in self._files:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self._stop()
        return self.trace
