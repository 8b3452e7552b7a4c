import pytest

from lit_listener.data.records import PairSource, PreferencePair
from lit_listener.data.sources import RandomShare


class Numbered(PairSource):
    """Pairs that are told apart by their names."""

    def __init__(self, make_pair, size: int) -> None:
        self.make_pair, self.size = make_pair, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> PreferencePair:
        if not 0 <= index < self.size:
            raise IndexError(index)
        return self.make_pair(pair_id=str(index))


@pytest.fixture
def drawn(make_pair):
    def draw(size: int, share: float, seed: int = 0) -> list[int]:
        kept = RandomShare(Numbered(make_pair, size), share, seed)
        return [int(kept[n].pair_id) for n in range(len(kept))]

    return draw


@pytest.mark.parametrize(("size", "share", "kept"), [(100, 0.16, 16), (10, 0.16, 2), (3, 0.16, 1), (1, 0.001, 1)])
def test_as_many_as_the_share_says_and_one_at_least(drawn, size, share, kept):
    places = drawn(size, share)
    assert len(places) == kept
    assert places == sorted(set(places))
    assert set(places) <= set(range(size))


def test_all_of_them_are_the_source_itself(drawn):
    assert drawn(20, 1.0) == list(range(20))


def test_the_seed_decides_and_a_larger_share_holds_the_smaller(drawn):
    assert drawn(100, 0.16) == drawn(100, 0.16)
    assert drawn(100, 0.16, seed=1) != drawn(100, 0.16, seed=0)
    assert set(drawn(100, 0.16)) < set(drawn(100, 0.5))


def test_the_draw_favours_no_place(drawn):
    counts = [0] * 10
    for seed in range(400):
        for place in drawn(10, 0.3, seed):
            counts[place] += 1
    # each of 10 places is among the 3 kept with probability 0.3: 120 of 400, sigma sqrt(400 x 0.3 x 0.7) = 9.2
    assert all(80 < count < 160 for count in counts)


def test_a_place_past_the_end_is_refused(make_pair):
    kept = RandomShare(Numbered(make_pair, 10), 0.5)
    with pytest.raises(IndexError):
        kept[5]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_must_be_a_part(make_pair, share):
    with pytest.raises(ValueError, match=r"share: expected a share in \(0, 1\], got"):
        RandomShare(Numbered(make_pair, 10), share)


def test_nothing_can_be_drawn_from_nothing(make_pair):
    with pytest.raises(ValueError, match="the source is empty"):
        RandomShare(Numbered(make_pair, 0), 0.5)
