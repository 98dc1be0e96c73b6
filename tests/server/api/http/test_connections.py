"""How many connections there may be, and for how long."""

from server.api.http.connections import ConnectionLimiter, Peer
from tests.support.polling import PATIENCE, until


def test_the_oldest_unauthenticated_connection_is_closed_first_and_an_authenticated_one_never() -> None:
    gone: list[Peer] = []
    limiter = ConnectionLimiter(most=3, patience_seconds=PATIENCE)
    peers = [("127.0.0.1", port) for port in range(6)]

    def arrive(peer: Peer) -> None:
        limiter.add(peer, lambda: gone.append(peer))

    for peer in peers[:3]:
        arrive(peer)
    limiter.authenticate(peers[0])
    arrive(peers[3])
    assert gone == [peers[1]]
    limiter.remove(peers[2])
    arrive(peers[4])
    assert gone == [peers[1]]
    limiter.authenticate(peers[3])
    limiter.authenticate(peers[4])
    arrive(peers[5])
    assert gone == [peers[1], peers[5]]  # all others are authenticated: the newcomer


def test_an_unauthenticated_connection_may_not_stay_for_ever() -> None:
    gone: list[int] = []
    limiter, patient = (ConnectionLimiter(most=3, patience_seconds=seconds) for seconds in (0.05, PATIENCE))
    for number in range(2):
        limiter.add(("127.0.0.1", number), lambda number=number: gone.append(number))
        patient.add(("127.0.0.1", number), lambda number=number: gone.append(number))
    limiter.authenticate(("127.0.0.1", 0))
    patient.close_expired()
    assert not gone

    def dismissed() -> bool:
        limiter.close_expired()
        return bool(gone)

    until(dismissed)
    assert gone == [1]
