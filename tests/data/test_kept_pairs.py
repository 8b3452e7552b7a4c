import pytest

from lit_listener.data.shapes import ShapesPairs
from lit_listener.data.sources.kept_pairs import KeptPairs

WHOLE = ShapesPairs(["flat"], size=6)


def test_the_pairs_at_the_places():
    kept = KeptPairs(WHOLE, [1, 4])
    assert len(kept) == 2
    assert [kept[n].pair_id for n in (0, 1)] == [WHOLE[1].pair_id, WHOLE[4].pair_id]
    assert [kept.prompt(n) for n in (0, 1)] == [WHOLE.prompt(1), WHOLE.prompt(4)]
    assert [kept.agreement(n) for n in (0, 1)] == [WHOLE.agreement(1), WHOLE.agreement(4)]
    assert kept.list_of(0) is None
    assert kept.ranked_lists() is None


def test_agreement_is_told_without_decoding(monkeypatch):
    monkeypatch.setattr(ShapesPairs, "__getitem__", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(ShapesPairs, "agreement", lambda _, index: 0.5 + index / 100)
    assert KeptPairs(WHOLE, [1, 4]).agreement(1) == 0.54


@pytest.mark.parametrize("places", [[2, 1], [1, 1], [-1, 2], [2, 6]])
def test_places_that_are_none_or_out_of_order_are_refused(places):
    with pytest.raises(ValueError, match="expected places in order, each once, from 0 to 5, got"):
        KeptPairs(WHOLE, places)


def test_no_pairs_are_no_source():
    with pytest.raises(ValueError, match="no pairs left"):
        KeptPairs(WHOLE, [])
