"""The record of what sentences do, worked by hand."""

import json

import pytest

from lit_listener.judging.heat import Heat, SentenceHeat

HEAT = Heat(
    "Red. Big. The first is better.",
    0.5,
    0.125,
    (
        SentenceHeat("Red.", 0, 4, 0.5, 0.75, 0.0),
        SentenceHeat("Big.", 5, 9, 0.75, 0.625, None),
        SentenceHeat("The first is better.", 10, 30, 0.625, 0.125, -0.5),
    ),
)


def test_gains_are_differences_and_add_up():
    # 0.75 - 0.5, 0.625 - 0.75, 0.125 - 0.625; together 0.125 - 0.5
    assert [sentence.gain for sentence in HEAT.sentences] == [0.25, -0.125, -0.5]
    assert sum(sentence.gain for sentence in HEAT.sentences) == HEAT.p_end - HEAT.p_start
    assert HEAT.hottest is HEAT.sentences[2]
    assert Heat("", 0.5, 0.5, ()).hottest is None


def test_it_goes_through_json():
    told = json.loads(json.dumps(HEAT.to_dict()))
    assert [sentence["gain"] for sentence in told["sentences"]] == [0.25, -0.125, -0.5]
    assert Heat.from_dict(told) == HEAT
    with pytest.raises(KeyError, match="p_end"):
        Heat.from_dict({name: x for name, x in told.items() if name != "p_end"})
