"""Wilson's interval and the counts that decide whether a rate may be reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.evaluation.intervals import allowed_errors, is_supported, needed_comparisons, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Closed form with z = 1.959964; 0/n gives z^2 / (n + z^2). 81/263 is Newcombe's (1998) published example.
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (81, 263, 0.2553, 0.3662)],
)
def test_known_values(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_no_trials_say_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match=r"0\.\.3"):
        wilson(4, 3)


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_the_interval_holds_the_rate_and_stays_in_range(trials, share):
    successes = int(share * trials)
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


def test_more_confidence_is_wider():
    assert wilson(5, 50, 0.99)[0] < wilson(5, 50, 0.95)[0] < wilson(5, 50, 0.5)[0]


@given(st.floats(1e-9, 1), st.integers(1, 10**12))
def test_allowed_errors_never_exceed_the_rate(rate, comparisons):
    k = allowed_errors(rate, comparisons)
    assert k / comparisons <= rate < (k + 1) / comparisons


@given(st.floats(1e-12, 1))
def test_the_needed_comparisons_suffice(rate):
    assert is_supported(rate, needed_comparisons(rate))


def test_decimal_rates_mean_what_they_say():
    assert allowed_errors(0.29, 100) == 29  # int(0.29 * 100) is 28
    assert allowed_errors(1 / 3, 30) == 10
    assert allowed_errors(1e-6, 3_000_000) == 3
    assert is_supported(1e-6, 10_000_000)
    assert not is_supported(1e-6, 9_999_999)
    assert needed_comparisons(1e-6) == 10_000_000
