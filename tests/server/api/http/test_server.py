"""Before anybody is served: where to listen, by which token, and when not to."""

import stat
from pathlib import Path

import pytest

from server.api.http.auth import BearerToken
from server.api.http.server import Address, bind_socket
from server.api.lanes.caller import client_name
from server.errors import Unavailable


def test_the_token_is_made_once_and_read_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "token"
    first = BearerToken(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and str(file) in first.where
    token = file.read_text(encoding="ascii").strip()
    assert BearerToken(file).opens(f"Bearer {token}") and first.opens(f"bearer {token}")
    assert not first.opens(f"Bearer {token[:-1]}") and not first.opens("Bearer ") and not first.opens("")
    file.chmod(0o640)
    with pytest.raises(Unavailable, match="chmod 600"):
        BearerToken(file)
    monkeypatch.setenv("AUTORESEARCH_TOKEN", "short")
    with pytest.raises(Unavailable, match="fewer than 16"):
        BearerToken(file)
    monkeypatch.setenv("AUTORESEARCH_TOKEN", "a-token-of-enough-letters")
    assert BearerToken(file).opens("Bearer a-token-of-enough-letters")


def test_a_client_may_put_its_name_behind_the_token(tmp_path: Path) -> None:
    bearer = BearerToken(tmp_path / "token")
    token = (tmp_path / "token").read_text(encoding="ascii").strip()
    assert bearer.opens(f"Bearer {token}@ada") and not bearer.opens(f"Bearer {token[:-1]}@ada")
    assert not bearer.opens("Bearer @ada") and not bearer.opens(f"Bearer ada@{token}")
    assert client_name(f"Bearer {token}@ada-2") == "ada-2"
    assert not any(map(client_name, (f"Bearer {token}", f"Bearer {token}@", f"Bearer {token}@A b", "", "@ada")))


def test_a_server_does_not_stand_open_to_others() -> None:
    for told in ("127.0.0.1:1", "localhost:1", "[::1]:1", "1"):
        bind_socket(Address(told), None, [])
    for told in ("0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[::1234]:1", "127.evil.example:1", "localhost.evil.example:1"):
        with pytest.raises(Unavailable, match="Others can reach"):
            bind_socket(Address(told), None, [])
    with pytest.raises(Unavailable, match=r"Others can reach gpubox\.example\.org"):
        bind_socket(Address("1"), None, ["gpubox.example.org"])  # behind a proxy
    for told in ("host", "host:port", "host:99999"):
        with pytest.raises(Unavailable, match="is not an address"):
            Address(told)


def test_a_port_in_use_is_one_sentence() -> None:
    with Address("127.0.0.1:0").bind() as taken, pytest.raises(Unavailable, match="cannot listen on"):
        Address(f"127.0.0.1:{taken.getsockname()[1]}").bind()
