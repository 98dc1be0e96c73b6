"""Messages on their way: real requests to a real server, which may be away, slow, broken, or somewhere else."""

import json
import socket
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from server.cli.entry import main
from server.errors import Unavailable
from server.notify import sending
from server.notify.channels import Channel, channel, post
from server.notify.message import Message
from server.notify.notifier import Notifier, notifying
from server.notify.sending import send
from server.notify.settings import Settings, load_settings
from server.paths import Home, StudyPaths
from server.records import Verdict
from tests.support.night import Night, constants
from tests.support.repositories import make_repository
from tests.support.webhook import Service, webhook

SECRET = "T0P5ECRET"
MESSAGE = Message(event="kept", title="t1: a gain", text="0.97 (−0.001, #7) <!channel> @everyone", study="t1")


@pytest.fixture
def service() -> Iterator[Service]:
    with webhook() as made:
        yield made


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("https://ntfy.sh/topic", "ntfy"),
        ("https://ntfy.example.org/topic", "ntfy"),
        ("ntfy+http://10.0.0.1:8080/topic", "ntfy"),
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://discord.com.evil.org/api/webhooks/1/x", "webhook"),
        ("https://example.org/ntfy.sh", "webhook"),
        ("tgram://bot/chat", "apprise"),
    ],
)
def test_an_address_says_which_service_it_is(told: str, kind: str) -> None:
    assert channel(told).kind == kind


@pytest.mark.parametrize(
    "told", ["", "nonsense", "http://", "file:///etc/passwd", "https://a:port/x", "https://[::1/x"]
)
def test_what_is_no_address_is_refused_without_showing_it(told: str) -> None:
    with pytest.raises(Unavailable) as refused:
        channel(told)
    assert not told or told not in str(refused.value)


def test_each_service_gets_its_own_form_and_nobody_is_called(service: Service) -> None:
    for kind in ("ntfy", "slack", "discord", "webhook"):
        assert send(channel(f"{kind}+{service.url}/{SECRET}/topic"), MESSAGE) == ""
    (ntfy, slack, discord, webhook) = service.requests
    assert ntfy[0] == f"/{SECRET}/" and ntfy[1]["topic"] == "topic" and ntfy[1]["title"] == "t1: a gain"
    assert "<!channel>" not in slack[1]["text"] and "&lt;!channel&gt;" in slack[1]["text"]
    assert discord[1]["allowed_mentions"] == {"parse": []} and "−0.001" in discord[1]["content"]
    assert webhook[0] == f"/{SECRET}/topic" and webhook[1]["event"] == "kept" and "report" not in webhook[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise's own code
def test_other_services_get_text_by_apprise_or_it_is_said_what_to_install(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sending, "_PAUSE", 0.0)
    to = channel(f"{service.url.replace('http', 'json')}/{SECRET}")
    if find_spec("apprise") is None:
        assert "pip install" in send(to, MESSAGE) and service.requests == []
        return
    evil = MESSAGE.model_copy(update={"title": "a\x1b[31m <b>gain</b>", "text": "x" * 5000})
    assert send(to, evil) == ""
    ((path, told),) = service.requests
    assert path == f"/{SECRET}" and "\x1b" not in told["title"] and len(told["message"]) <= 1500
    service.status = 500
    assert send(to, MESSAGE) == "apprise could not send it" and len(service.requests) == 3
    assert "does not know" in send(Channel("apprise", f"nosuch://{SECRET}"), MESSAGE)
    assert SECRET not in caplog.text + to.name


def test_controls_and_length_are_bounded() -> None:
    hostile = MESSAGE.model_copy(update={"text": "\x1b[2J\0" + "x" * 100_000, "title": "a\nb"})
    for kind in ("ntfy", "slack", "discord", "webhook"):
        body = post(channel(f"{kind}+http://h/t"), hostile).body
        assert len(body) < 4000 and b"\\u001b" not in body and b"\x1b" not in body


@pytest.mark.parametrize(
    ("status", "words", "tries"),
    [
        (500, "it answers (500)", 2),
        (429, "it answers (429)", 2),
        (404, "it answers (404)", 1),
        (302, "leads elsewhere (302)", 1),
    ],
)
def test_what_a_service_answers_is_told_without_its_address(
    service: Service, status: int, words: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_PAUSE", 0.0)
    service.status = status
    to = channel(f"{service.url}/{SECRET}")
    why = send(to, MESSAGE)
    assert words in why and SECRET not in f"{why} {to.name}" and len(service.requests) == tries
    assert all(path == f"/{SECRET}" for path, _ in service.requests), "nobody was led elsewhere"


def test_a_slow_service_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.1)
    service.delay = 60.0
    assert "did not answer within 0.1 s" in send(channel(service.url), MESSAGE)


def test_a_service_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_PAUSE", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert "cannot be reached (Connection refused)" in send(channel(f"http://127.0.0.1:{port}/{SECRET}"), MESSAGE)
    assert "cannot be reached" in send(channel(f"http://nowhere.invalid/{SECRET}"), MESSAGE)
    told = send(Channel("webhook", f"http://127.0.0.1:{port}/{SECRET} with spaces\n"), MESSAGE)
    assert told and SECRET not in told


def settings_file(home: Home, text: str, mode: int = 0o600) -> None:
    home.folder.mkdir(parents=True, exist_ok=True)
    home.notify.write_text(text, encoding="utf-8")
    home.notify.chmod(mode)


def test_settings_come_from_a_file_of_the_owners_alone_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    assert load_settings(home).urls == []
    monkeypatch.setenv("AUTORESEARCH_NOTIFY", "https://a.org/1, https://b.org/2\n")
    settings_file(home, 'urls = ["https://c.org/3"]\nevents = ["over"]\nquiet = "22:00-07:00"\n')
    found = load_settings(home)
    assert [one.url[-1] for one in found.channels] == ["3", "1", "2"] and found.events == ["over"]
    assert SECRET not in repr(Settings(urls=[SECRET]))
    settings_file(home, f'urls = ["https://c.org/{SECRET}"]\n', 0o644)
    with pytest.raises(Unavailable, match="Other users can read") as refused:
        load_settings(home)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [f'urls = "{SECRET}"', f"{SECRET} [", f'urls = ["https://{SECRET}"]\nquiet = "late"', f'event = ["{SECRET}"]'],
)
def test_wrong_settings_are_refused_without_showing_them(tmp_path: Path, text: str) -> None:
    settings_file(Home(tmp_path), text)
    with pytest.raises(Unavailable) as refused:
        load_settings(Home(tmp_path))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("quiet", "hour", "is_quiet"),
    [
        ("22:00-07:00", 23, True),
        ("22:00-07:00", 6, True),
        ("22:00-07:00", 7, False),
        ("9:30-17:00", 12, True),
        ("", 3, False),
    ],
)
def test_quiet_hours_may_go_over_midnight(quiet: str, hour: int, is_quiet: bool) -> None:
    from datetime import datetime

    assert Settings(quiet=quiet).is_quiet(datetime(2026, 1, 1, hour)) is is_quiet


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    """A study with a baseline and one sure keep."""
    make_repository(tmp_path / "work", constants(A=1))
    night = Night(tmp_path / "work")
    night.baseline(2.0, (2.001, 1.999))
    night.tried({"train.py": constants(A=2)}, 1.8, Verdict.IMPROVED, "A to 2", [1.8, 1.801])
    return StudyPaths(night.write())


def test_a_study_is_looked_after_and_its_end_is_told(paths: StudyPaths, service: Service) -> None:
    told: list[str] = []
    wanted = Settings(urls=[f"{service.url}/{SECRET}"], attach=True)
    notifier = Notifier(paths, wanted, told.append)
    assert notifier.look() == [], "what was there before is not told"
    notifier.look("5 experiments are done")
    notifier.wait()
    (_, sent) = service.requests[-1]
    assert sent["event"] == "over" and sent["title"] == "t1 is over: 5 experiments are done"
    assert "val_bpb fell from 2.0000 to 1.80" in sent["text"] and sent["report"].startswith("<!doctype html>")
    assert told == [] and SECRET not in paths.notified.read_text(encoding="utf-8")
    again = Notifier(paths, wanted, told.append)
    assert again.look("5 experiments are done") == [], "a restart repeats nothing"


def test_a_new_gain_is_told_with_its_error(paths: StudyPaths, service: Service) -> None:
    notifier = Notifier(paths, Settings(urls=[service.url]), lambda line: None)
    paths.notified.write_text('{"begun": true, "told": 3, "baseline": true}', encoding="utf-8")
    (message,) = notifier.look()
    assert message.event == "kept" and message.text.startswith("1.8005 (−0.1995 ± 0.0")
    assert "#4) A to 2" in message.text and "1 sure of 1" in message.text


def test_of_several_agents_a_gain_tells_whose_it_is(tmp_path: Path) -> None:
    make_repository(tmp_path / "work", constants(A=1))
    night = Night(tmp_path / "work")
    night.baseline(2.0, (2.001, 1.999))
    night.tried({"train.py": constants(A=2)}, 1.8, Verdict.IMPROVED, "A to 2", [1.8, 1.801], agent="ada", lane="ada")
    night.tried({"train.py": constants(A=9)}, 1.9, Verdict.WORSE, "A to 9", agent="bea\x1b[31m", lane="bea")
    paths = StudyPaths(night.write())
    paths.notified.write_text('{"begun": true, "told": 3, "baseline": true}', encoding="utf-8")
    (message,) = Notifier(paths, Settings(), lambda line: None).look()
    assert "#4, by ada) [ada] A to 2" in message.text


def test_whoever_drives_is_not_held_up_by_a_dead_service_and_its_failure_is_told_once(
    paths: StudyPaths, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORESEARCH_NOTIFY", f"{service.url}/{SECRET}")
    monkeypatch.setattr(sending, "_PAUSE", 0.0)
    service.status = 500
    told: list[str] = []
    with notifying(paths, told.append, seconds=0.05) as ended:
        time.sleep(0)
        ended.append("8 hours are over")
    assert len(told) == 1 and "webhook at 127.0.0.1 got no message: it answers (500)" in told[0]
    assert SECRET not in told[0]
    settings_file(paths.home, "urls = [", 0o644)
    with notifying(paths, told.append):
        pass
    assert "no messages are sent" in told[1]


def test_of_two_processes_one_sends(paths: StudyPaths, service: Service) -> None:
    one = Notifier(paths, Settings(urls=[service.url]), lambda line: None)
    one.look()
    memory = json.loads(paths.notified.read_text(encoding="utf-8"))
    paths.notified.write_text(json.dumps({**memory, "by": 1, "by_at": time.time()}), encoding="utf-8")
    assert one.look("it ends") == []
    paths.notified.write_text(json.dumps({**memory, "by": 1, "by_at": time.time() - 3600}), encoding="utf-8")
    assert [message.event for message in one.look("it ends")] == ["over"]


def test_the_command_tests_every_address_and_shows_none(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sending, "_PAUSE", 0.0)
    monkeypatch.setenv("AUTORESEARCH_NOTIFY", f"{service.url}/{SECRET}")
    with pytest.raises(SystemExit) as ended:
        main(["notify", "--test", "--workspace", str(tmp_path)])
    assert ended.value.code == 0 and "webhook at 127.0.0.1: sent" in capsys.readouterr().out
    service.status = 404
    with pytest.raises(SystemExit) as ended:
        main(["notify", "--test", "--workspace", str(tmp_path)])
    told = capsys.readouterr()
    assert ended.value.code == 1 and "404" in told.out and SECRET not in told.out + told.err
    monkeypatch.delenv("AUTORESEARCH_NOTIFY")
    with pytest.raises(SystemExit) as ended:
        main(["notify", "--workspace", str(tmp_path)])
    assert ended.value.code == 1 and "No address is configured" in capsys.readouterr().err
