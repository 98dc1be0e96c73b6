"""Who may stay when the room is full, and for how long."""

from server.api.http.connections import ConnectionLimiter, Peer
from tests.support.polling import PATIENCE, until


def test_strangers_make_way_the_oldest_first_and_guests_never() -> None:
    gone: list[Peer] = []
    crowd = ConnectionLimiter(most=3, patience_seconds=PATIENCE)
    peers = [("127.0.0.1", port) for port in range(6)]

    def arrive(peer: Peer) -> None:
        crowd.arrive(peer, lambda: gone.append(peer))

    for peer in peers[:3]:
        arrive(peer)
    crowd.admit(peers[0])
    arrive(peers[3])
    assert gone == [peers[1]]
    crowd.leave(peers[2])
    arrive(peers[4])
    assert gone == [peers[1]]
    crowd.admit(peers[3])
    crowd.admit(peers[4])
    arrive(peers[5])
    assert gone == [peers[1], peers[5]]  # a full house of guests: the newcomer


def test_a_stranger_may_not_stay_for_ever() -> None:
    gone: list[int] = []
    crowd = ConnectionLimiter(most=3, patience_seconds=0.05)
    for number in range(2):
        crowd.arrive(("127.0.0.1", number), lambda number=number: gone.append(number))
    crowd.admit(("127.0.0.1", 0))
    crowd.tidy()
    assert not gone

    def dismissed() -> bool:
        crowd.tidy()
        return bool(gone)

    until(dismissed)
    assert gone == [1]
