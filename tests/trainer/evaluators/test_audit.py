"""The arithmetic of the audit, on a model small enough to know by heart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.evaluators import audit

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.integers(0, 50, size=(40, 33)).astype(np.uint16)
TABLE = RANDOM.normal(size=(50, 50)).astype(np.float32)  # a bigram model: logits of the next token


def claims_of(table: NDArray[np.float32]) -> NDArray[np.float32]:
    logits = table[ROWS[:, :-1]].reshape(-1, 50)
    return audit.negative_log_likelihood(logits, ROWS[:, 1:].reshape(-1)).reshape(40, 32).astype(np.float32)


SCORED = np.ones((40, 32), bool)


def text_of(table: NDArray[np.float32], size: int) -> NDArray[np.uint16]:
    chances = np.exp(table.astype(np.float64))
    sums = (chances / chances.sum(axis=1, keepdims=True)).cumsum(axis=1)
    tokens = [0]
    for drawn in RANDOM.random(size):
        tokens.append(min(int(sums[tokens[-1]].searchsorted(drawn, side="right")), 49))
    return np.array(tokens, dtype=np.uint16)


TEXT = text_of(TABLE, 20_000)
TEXT[::90] = 0  # where its documents begin
SURPRISE = audit.surprise(TEXT, ROWS)
HEIGHT = 8


def evidence(claims: NDArray[np.float32], scored: NDArray[np.bool_] = SCORED) -> audit.Evidence:
    return audit.Evidence(claims, ROWS, scored, SURPRISE, TEXT, bos=0)


def drawn(claims: NDArray[np.float32], count: int, seed: int) -> audit.Probes:
    return audit.draw(evidence(claims), count, HEIGHT, np.random.default_rng(seed))


def audited(claims: NDArray[np.float32], seed: int = 1) -> str | None:
    probes = drawn(claims, 64, seed)
    answers = TABLE[probes.inputs[np.arange(64), probes.cuts]]
    answered = audit.negative_log_likelihood(answers, ROWS[probes.rows, probes.cuts + 1])
    return audit.objection(claims[probes.rows, probes.cuts], answered, probes.weights, "cpu")


def test_negative_log_likelihood_agrees_with_a_direct_softmax() -> None:
    logits = RANDOM.normal(size=(7, 50)).astype(np.float32)
    targets = np.arange(7, dtype=np.uint16)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert audit.negative_log_likelihood(logits, targets) == pytest.approx(-np.log(probabilities[range(7), range(7)]))


def test_honest_claims_are_believed() -> None:
    assert audited(claims_of(TABLE)) is None


def test_halved_claims_are_not_believed() -> None:
    assert "do not hold" in str(audited(claims_of(TABLE) / np.float32(2)))


def test_a_small_gain_everywhere_shows_in_the_mean() -> None:
    assert "too good on average" in str(audited(claims_of(TABLE) - np.float32(0.003)))


def test_being_worse_where_audits_are_dense_does_not_pay_for_being_better_elsewhere() -> None:
    claims, shave = claims_of(TABLE), np.float32(0.004)
    low, high = np.quantile(claims, (0.02, 0.98))
    tail = (claims <= low) | (claims >= high)
    caught = [audited(np.where(tail, claims + shave, claims - shave).astype(np.float32), seed) for seed in range(50)]
    assert all(caught)


def test_a_lie_at_a_few_hard_tokens_is_looked_for_where_an_ngram_finds_them_hard() -> None:
    claims = claims_of(TABLE)
    hard = np.argsort(claims.reshape(-1))[-12:]  # one in a hundred
    claims.reshape(-1)[hard] = np.median(claims)
    assert sum(audited(claims, seed) is not None for seed in range(100)) >= 50


def test_what_is_not_scored_is_not_audited() -> None:
    scored = SCORED.copy()
    scored[:, ::2] = False
    probes = audit.draw(evidence(claims_of(TABLE), scored), 64, HEIGHT, np.random.default_rng(4))
    assert (probes.cuts % 2 == 1).all() and len(probes.cuts) == 64


def test_surprise_is_low_for_what_follows_often_and_high_for_what_is_rare() -> None:
    text = np.array([1, 2] * 100 + [3, 4, 5], dtype=np.uint16)
    found = audit.surprise(text, np.array([[1, 2, 1, 4, 5]], dtype=np.uint16))[0]
    assert found[0] < 0.1 and found[1] < 0.1 and found[2] > 4
    chances = [np.exp(-audit.surprise(text, np.array([[1, token]], np.uint16))[0, 0]) for token in range(6)]
    assert sum(chances) == pytest.approx(1.0, abs=0.02)


def test_the_tolerance_is_wider_where_arithmetic_is_rounded_and_never_as_wide_as_a_gain_of_one_percent() -> None:
    claimed, answered, weights = np.zeros(100, np.float32), np.full(100, 0.0015), np.ones(100)
    assert audit.objection(claimed, answered, weights, "cuda") is None
    assert audit.objection(claimed, answered, weights, "cpu") is not None
    assert audit.objection(claimed, answered + 0.0155, weights, "cuda") is not None


def test_answers_that_are_not_finite_are_no_answers() -> None:
    assert "not finite" in str(audit.objection(np.zeros(2, np.float32), np.array([0.0, np.nan]), np.ones(2), "cpu"))


def test_a_probe_keeps_the_past_and_replaces_the_future() -> None:
    probes = drawn(claims_of(TABLE), 64, 2)
    changed = 0
    for inputs, cut, row in zip(probes.inputs, probes.cuts, probes.rows, strict=True):
        assert (inputs[: cut + 1] == ROWS[row, : cut + 1]).all()
        changed += (inputs[cut + 1 :] != ROWS[row, cut + 1 : -1]).sum()
    assert changed > 500


def test_a_future_is_training_text_from_the_beginning_of_a_document() -> None:
    probes, text = drawn(claims_of(TABLE), 64, 2), TEXT.tobytes()
    for inputs, cut in zip(probes.inputs, probes.cuts, strict=True):
        assert inputs[cut + 1 :].tobytes() in text
        assert cut == 31 or inputs[cut + 1] == 0


def test_a_future_is_found_where_training_text_is_short_and_has_no_documents() -> None:
    for size in (3, 33, 40):
        told = audit.Evidence(claims_of(TABLE), ROWS, SCORED, SURPRISE, TEXT[1 : size + 1], bos=999)
        probes = audit.draw(told, 8, HEIGHT, np.random.default_rng(0))
        assert np.isin(probes.inputs, [*ROWS.flatten(), *TEXT[1 : size + 1]]).all()


def test_no_probe_is_shown_before_one_that_asks_for_a_token_of_it() -> None:
    """A replica that remembers all that it sees, and compares the rows of a batch, finds no answer in it."""
    for seed in range(20):
        probes = drawn(claims_of(TABLE), 200, seed)
        assert sorted(np.concatenate(probes.batches).tolist()) == list(range(200))
        assert max(map(len, probes.batches)) <= HEIGHT
        shown = np.full(len(ROWS), -1)  # the last position of each row that the replica has been shown
        for batch in probes.batches:
            assert len(set(probes.rows[batch])) == len(batch)
            assert (shown[probes.rows[batch]] <= probes.cuts[batch]).all()
            shown[probes.rows[batch]] = probes.cuts[batch]


def test_positions_are_drawn_by_their_density_and_never_twice() -> None:
    claims = claims_of(TABLE)
    chances, counts = audit.density(evidence(claims)), np.zeros(claims.size)
    for seed in range(300):
        probes = drawn(claims, 64, seed)
        positions = probes.rows * 32 + probes.cuts
        assert len(set(positions.tolist())) == 64
        assert probes.weights == pytest.approx(1 / chances[positions])
        counts[positions] += 1
    assert chances.sum() == pytest.approx(1.0) and chances.min() >= 0.5 / claims.size
    for low, high in ((0, 0.25), (0.25, 0.75), (0.75, 1)):
        there = (chances >= np.quantile(chances, low)) & (chances <= np.quantile(chances, high))
        assert counts[there].sum() / 300 == pytest.approx(64 * chances[there].sum(), rel=0.05)


def test_the_mean_is_that_of_all_scored_positions_however_they_are_drawn() -> None:
    claims, false = claims_of(TABLE), RANDOM.random((40, 32)) * 0.002
    found = np.empty(200)
    for seed in range(200):
        probes = drawn(claims, 64, seed)
        found[seed] = np.average(false[probes.rows, probes.cuts], weights=probes.weights)
    assert found.mean() == pytest.approx(false.mean(), rel=0.02)


CLAIMED = np.zeros(4, np.float32)
ANSWERED = np.full(4, 2.0)
ONE_CHANGED = np.array([2.0, 2.0, 3.0, 2.0])


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (audit.Answers(ANSWERED, ANSWERED, ANSWERED, CLAIMED.astype(float)), "is the attention causal"),
        (audit.Answers(ANSWERED, ANSWERED, ANSWERED, ANSWERED), "registered buffers"),
        (
            audit.Answers(ANSWERED, ONE_CHANGED, ONE_CHANGED, ANSWERED),
            "other rows of its batch",
        ),
        (audit.Answers(ANSWERED, ANSWERED + 1, ANSWERED + 2, ANSWERED), "random numbers"),
    ],
    ids=["sees later tokens", "is another model", "sees other rows", "draws random numbers"],
)
def test_the_cause_is_told(answers: audit.Answers, words: str) -> None:
    assert words in audit.cause(CLAIMED, answers, "cpu")


def test_answers_that_are_asked_again_come_in_other_batches() -> None:
    probes = drawn(claims_of(TABLE), 64, 3)
    some = audit.chosen(probes, np.array([60, 1, 7, 9, 30, 22, 21, 20, 5, 63]), HEIGHT)
    assert [len(batch) for batch in some.batches] == [8, 2]
    assert (some.rows == probes.rows[[60, 1, 7, 9, 30, 22, 21, 20, 5, 63]]).all()
