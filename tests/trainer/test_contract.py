"""What server and trainer share, held against both sides."""

import json
from importlib.util import find_spec

from trainer.contract import (
    GPU_PROFILES,
    Entry,
    ProfileName,
    Spec,
    is_signed,
    join_pids,
    public_half,
    sign,
    split_pids,
)
from trainer.run.profiles import PROFILES

SPEC = Spec(1, "cpu", 42, 300.0, 5.0, 30.0, 30.0, "data", "imports", "cookie")


def test_the_profiles_are_the_trainers() -> None:
    assert set(ProfileName) == set(PROFILES)
    assert {name for name, profile in PROFILES.items() if profile.device == "cuda"} == GPU_PROFILES


def test_every_entry_is_a_module_of_the_trainer() -> None:
    assert all(find_spec(entry) for entry in Entry)


def test_a_spec_that_an_older_server_wrote_is_read() -> None:
    told = json.loads(SPEC.to_json())
    assert json.loads(Spec.from_json(json.dumps(told)).to_json()) == told
    del told["referee"]
    assert Spec.from_json(json.dumps(told)).referee == "sealed"


def test_pids_are_read_as_they_were_written() -> None:
    assert join_pids({12, 7}) == "7, 12" and split_pids("7, 12") == {7, 12}
    assert join_pids([]) is None and split_pids(None) == set()


def test_a_signature_holds_for_one_text_of_one_run_and_cannot_be_moved_to_another() -> None:
    key = "a key"
    public, signature = public_half(key), sign(key, 7, "0" * 64, b"{}")
    assert is_signed(public, 7, "0" * 64, b"{}", signature)
    assert not is_signed(public, 8, "0" * 64, b"{}", signature)
    assert not is_signed(public, 7, "1" * 64, b"{}", signature)
    assert not is_signed(public, 7, "0" * 64, b"{ }", signature)
    assert not is_signed(public_half("another"), 7, "0" * 64, b"{}", signature)
    for broken in ("", "no hex", signature[:-2], signature + "00", "00" + signature[2:]):
        assert not is_signed(public, 7, "0" * 64, b"{}", broken)
