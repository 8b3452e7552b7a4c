import numpy as np
import pytest

from lit_listener.data.sources.selection import Selection

SHARES = np.array([0.5, 0.9, 0.2, 0.6, 1.0, 0.5, 0.8, 0.1])
VOTES = np.array([20, 20, 16, 30, 5, 8, 15, 40])


def chosen(shares=SHARES, votes=VOTES, lists=None, **options) -> list[int]:
    return Selection(**options).choose(shares, votes, lists).kept.tolist()


def test_ties_are_dropped_and_counted():
    assert chosen() == [1, 2, 3, 4, 6, 7]
    assert chosen(drop_ties=False) == list(range(8))
    assert Selection().choose(SHARES, VOTES).ties == Selection(drop_ties=False).choose(SHARES, VOTES).ties == 2


def test_the_papers_binarised_set_at_least_80_percent_and_more_than_15_votes():
    assert chosen(min_agreement=0.8, min_votes=16) == [1, 2, 7]


def test_agreement_of_a_32_bit_share():
    shares = np.array([0.7, 0.3, 0.69]).astype(np.float32).astype(np.float64)
    assert chosen(shares, np.zeros(3, int), min_agreement=0.7) == [0, 1]


def test_the_most_confident_first_by_agreement_then_by_votes_then_by_place():
    # agreement: 1.0 (pair 4), 0.9 (pair 1 of 20 votes, pair 7 of 40), 0.8 (pair 2 of 16, pair 6 of 15), 0.6
    assert [chosen(most_confident=n) for n in (1, 2, 3, 4)] == [[4], [4, 7], [1, 4, 7], [1, 2, 4, 7]]
    assert chosen(most_confident=1, min_votes=20) == [7]
    assert chosen(np.array([0.9, 0.9]), np.array([3, 3]), most_confident=1) == [0]


@pytest.mark.parametrize(("size", "share", "kept"), [(100, 0.16, 16), (10, 0.16, 2), (3, 0.16, 1), (1, 0.001, 1)])
def test_as_many_as_the_fraction_says_and_one_at_least(size, share, kept):
    places = chosen(np.ones(size), np.zeros(size, int), fraction=share)
    assert len(places) == kept
    assert places == sorted(set(places))
    assert set(places) <= set(range(size))


def test_the_seed_decides_and_a_larger_fraction_holds_the_smaller():
    def draw(fraction: float, seed: int = 0) -> list[int]:
        return chosen(np.ones(100), np.zeros(100, int), fraction=fraction, seed=seed)

    assert draw(0.16) == draw(0.16)
    assert draw(0.16, seed=1) != draw(0.16, seed=0)
    assert set(draw(0.16)) < set(draw(0.5))
    assert draw(1.0) == list(range(100))


def test_the_draw_favours_no_place():
    counts = np.zeros(10, int)
    for seed in range(400):
        counts[chosen(np.ones(10), np.zeros(10, int), fraction=0.3, seed=seed)] += 1
    # each of 10 places is among the 3 kept with probability 0.3: 120 of 400, sigma sqrt(400 x 0.3 x 0.7) = 9.2
    assert all(80 < count < 160 for count in counts)


def test_a_fraction_is_of_what_the_other_conditions_leave():
    assert len(chosen(fraction=0.5)) == 3
    assert set(chosen(fraction=0.5)) <= {1, 2, 3, 4, 6, 7}


def test_pairs_of_each_list():
    lists = np.repeat([4, 7, 9], [6, 3, 1])
    shares = np.ones(10)
    shares[6] = 0.5
    for seed in range(20):
        kept = np.array(chosen(shares, np.zeros(10, int), lists, pairs_per_list=2, seed=seed))
        assert lists[kept].tolist() == [4, 4, 7, 7, 9]  # a tie is none of the two
        assert 6 not in kept
    drawn = [tuple(chosen(shares, np.zeros(10, int), lists, pairs_per_list=2, seed=seed)) for seed in range(300)]
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    # each of 6 pairs is among the 2 kept with probability 1/3: 100 of 300, sigma sqrt(300 x 1/3 x 2/3) = 8.2
    assert all(65 < count < 135 for count in counts[:6])
    assert counts[6:].tolist() == [0, 300, 300, 300]


def test_the_pairs_of_a_list_do_not_depend_on_the_lists_after_it():
    lists = np.repeat([0, 1, 2], 10)
    alone = chosen(np.ones(10), np.zeros(10, int), lists[:10], pairs_per_list=3)
    assert [place for place in chosen(np.ones(30), np.zeros(30, int), lists, pairs_per_list=3) if place < 10] == alone


def test_nothing_stays_nothing():
    for options in ({}, {"fraction": 0.5}, {"most_confident": 3}):
        assert chosen(np.empty(0), np.empty(0, int), **options) == []
    assert chosen(np.empty(0), np.empty(0, int), np.empty(0, int), pairs_per_list=2) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"fraction: expected a share in \(0, 1\], got 0.0"),
        ({"fraction": float("nan")}, r"fraction: expected a share in \(0, 1\], got nan"),
        ({"min_agreement": 80}, r"min_agreement: expected a share of the voters in \[0.5, 1\], got 80"),
        ({"min_votes": -1}, "min_votes: expected a number of votes, at least 0, got -1"),
        ({"most_confident": 0}, "most_confident: expected at least 1 pair, got 0"),
        ({"pairs_per_list": 0}, "pairs_per_list: expected at least 1 pair, got 0"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Selection(**options)


def test_conditions_on_what_is_not_told():
    with pytest.raises(ValueError, match="min_votes=3: the source does not tell how many people voted"):
        chosen(votes=np.zeros(8, int), min_votes=3)
    with pytest.raises(ValueError, match="pairs_per_list=3: the source has pairs, not lists"):
        chosen(pairs_per_list=3)


def test_which_option_keeps_only_some_of_the_pairs():
    assert Selection().partial is None
    assert Selection(drop_ties=False, seed=3).partial is None
    assert Selection(fraction=0.5, min_votes=2).partial == "min_votes=2"
    assert Selection(min_agreement=0.6).partial == "min_agreement=0.6"
