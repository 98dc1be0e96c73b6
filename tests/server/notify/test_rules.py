"""What is worth a message, and when: a study as it was seen, minute by minute."""

from typing import Any

import pytest

from server.notify.message import Message
from server.notify.rules import Gain, Memory, Seen, look

ALL = ("over", "stuck", "kept", "first", "digest")
USUAL = ("over", "stuck", "kept")
MINUTE = 60.0


class Phone:
    """An operator's, and the clock."""

    def __init__(self, events: tuple[str, ...] = USUAL, **seen: Any) -> None:
        self.now, self.memory, self.events, self.quiet = 1_000_000.0, Memory(), events, False
        self.seen = Seen(tag="t1", line="so far", last=5, measured=5)
        self.after(0, **seen)

    def after(self, minutes: float, **seen: Any) -> list[Message]:
        """What comes when it is looked at so many minutes later."""
        self.now += minutes * MINUTE
        self.seen = self.seen.model_copy(update=seen)
        self.memory, messages = look(self.memory, self.seen, self.now, self.events, self.quiet)
        self.memory = Memory.model_validate_json(self.memory.model_dump_json())  # as it is kept on disk
        return messages

    def events_after(self, minutes: float, **seen: Any) -> list[str]:
        return [message.event for message in self.after(minutes, **seen)]


def gains(*numbers: int) -> list[Gain]:
    return [Gain(number=number, told=f"#{number}") for number in numbers]


def test_what_was_kept_before_is_not_told_and_later_gains_are_told_together() -> None:
    phone = Phone(gains=gains(2))
    assert phone.events_after(1, last=6) == []
    (message,) = phone.after(1, gains=gains(2, 7), last=7)
    assert message.event == "kept" and message.text == "#7\nso far" and not message.urgent
    assert phone.after(10, gains=gains(2, 7, 8), last=8) == []
    (message,) = phone.after(25, gains=gains(2, 7, 8, 9), last=9)
    assert message.title == "t1: 2 gains" and message.text.startswith("#8\n#9\n")
    assert phone.after(60) == []


def test_the_end_is_told_once_for_each_end() -> None:
    phone = Phone()
    assert phone.events_after(1, over="8 hours are over", lead="It fell.") == ["over"]
    assert phone.events_after(60) == [] == phone.events_after(1, over="")
    assert phone.events_after(1, over="8 hours are over") == ["over"]


def test_a_study_that_was_over_before_anybody_looked_is_told() -> None:
    phone = Phone()
    phone.memory = Memory()
    assert phone.events_after(0, over="8 hours are over") == ["over"]


@pytest.mark.parametrize(
    ("seen", "minutes", "words"),
    [
        ({"server": "off"}, 10, "The server is gone for 10 minutes"),
        ({"server": "hangs"}, 10, "The server hangs for 10 minutes"),
        ({"waiting": True}, 44, "The agent has started no run for 45 minutes"),
        ({"failures": ["oom", "oom", "oom", "bug"]}, 0, "The last 3 experiments failed alike: oom"),
        ({"disk": "The disk has 0.1 GB left."}, 0, "0.1 GB"),
    ],
)
def test_what_holds_a_study_up_is_told_at_once_even_at_night(seen: dict[str, Any], minutes: int, words: str) -> None:
    phone = Phone()
    phone.quiet = True
    messages = phone.after(1, **seen)
    if minutes:
        assert not messages and not phone.after(minutes - 1)
        messages = phone.after(1)
    (message,) = messages
    assert message.event == "stuck" and message.urgent and words in message.text
    assert phone.after(30) == []
    usual: dict[str, Any] = {"server": "on", "waiting": False, "failures": [], "disk": ""}
    assert phone.after(1, **usual) == []
    phone.after(1, last=6, **seen)
    assert phone.after(minutes + 1) if minutes else True, "it is told again when it comes back"


@pytest.mark.parametrize(
    "seen",
    [
        {"server": "off", "paused": True},
        {"server": "off", "over": "stopped"},
        {"waiting": True, "running": True},
        {"failures": ["oom", "bug", "oom"]},
        {"failures": ["oom", "oom"]},
    ],
)
def test_what_is_meant_or_goes_on_is_not_stuck(seen: dict[str, Any]) -> None:
    phone = Phone()
    phone.after(1, **seen)
    assert "stuck" not in phone.events_after(100)


def test_quiet_hours_hold_what_can_wait_and_then_send_it_as_one() -> None:
    phone = Phone()
    phone.quiet = True
    assert phone.after(1, gains=gains(6)) == [] == phone.after(40, gains=gains(6, 7))
    assert phone.after(40, over="8 hours are over", lead="It fell.") == []
    phone.quiet = False
    (message,) = phone.after(1)
    assert message.event == "over" and "It fell." in message.text and "t1: a gain: #7" in message.text
    assert phone.after(1) == []


def test_never_more_than_six_an_hour_and_nothing_is_lost() -> None:
    phone, sent = Phone(("stuck", "over", "kept")), 0
    for minute in range(20):
        sent += len(phone.after(1, failures=["oom"] * 3 if minute % 2 else []))
    assert sent == 6 and phone.memory.held
    assert phone.events_after(61, failures=[])


def test_a_clock_that_jumps_neither_silences_nor_floods() -> None:
    phone = Phone()
    phone.after(1, gains=gains(6))
    assert phone.events_after(-100_000, gains=gains(6, 7)) == ["kept"]
    phone.after(0, waiting=True)
    assert phone.events_after(-100_000) == []


def test_what_nobody_asked_for_is_not_sent() -> None:
    phone = Phone(("stuck",))
    assert phone.after(1, gains=gains(6), over="done") == []
    fresh = Phone(ALL, last=0, measured=0)
    assert fresh.events_after(1, last=1, measured=0, running=True) == []
    assert fresh.events_after(5, measured=1, running=False) == ["first"]
    assert fresh.events_after(5, last=2) == [] and "digest" in fresh.events_after(12 * 60, running=True)
