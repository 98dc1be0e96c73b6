"""The arithmetic of the audit, on a model small enough to know by heart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer import audit

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.integers(0, 50, size=(40, 33)).astype(np.uint16)
TABLE = RANDOM.normal(size=(50, 50)).astype(np.float32)  # a bigram model: logits of the next token


def claims_of(table: NDArray[np.float32]) -> NDArray[np.float32]:
    logits = table[ROWS[:, :-1]].reshape(-1, 50)
    return audit.negative_log_likelihood(logits, ROWS[:, 1:].reshape(-1)).reshape(40, 32).astype(np.float32)


def audited(claims: NDArray[np.float32]) -> str | None:
    probes = audit.draw(claims, ROWS, 64, np.random.default_rng(1))
    answers = TABLE[probes.inputs[np.arange(64), probes.cuts]]
    answered = audit.negative_log_likelihood(answers, ROWS[probes.rows, probes.cuts + 1])
    return audit.objection(claims[probes.rows, probes.cuts], answered, "cpu")


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
    assert "too good on average" in str(audited(claims_of(TABLE) - np.float32(0.02)))


def test_the_tolerance_is_wider_where_arithmetic_is_rounded_and_never_as_wide_as_a_gain_of_one_percent() -> None:
    claimed, answered = np.zeros(100, np.float32), np.full(100, 0.004)
    assert audit.objection(claimed, answered, "cuda") is None
    assert audit.objection(claimed, answered, "cpu") is not None
    assert audit.objection(claimed, answered + 0.013, "cuda") is not None


def test_answers_that_are_not_finite_are_no_answers() -> None:
    assert "not finite" in str(audit.objection(np.zeros(2, np.float32), np.array([0.0, np.nan]), "cpu"))


def test_a_probe_keeps_the_past_and_replaces_the_future() -> None:
    probes = audit.draw(claims_of(TABLE), ROWS, 64, np.random.default_rng(2))
    changed = 0
    for inputs, cut, row in zip(probes.inputs, probes.cuts, probes.rows, strict=True):
        assert (inputs[: cut + 1] == ROWS[row, : cut + 1]).all()
        changed += (inputs[cut + 1 :] != ROWS[row, cut + 1 : -1]).sum()
    assert changed > 500
