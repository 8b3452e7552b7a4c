"""Judgements with all that their display has to cope with; and the bundled judge's own."""

from dataclasses import replace

import pytest
from PIL import Image

from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.display.exhibit import Exhibit, Shown
from lit_listener.judging.judge import Judge
from lit_listener.judging.pictures import picture
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.traces import Trace

HOSTILE = "<script>alert('x')</script>[bold red]b[/] & \"quoted\" <img src=x onerror=alert(1)>\x1b[2J\u202e"


def trace(first, p_a, **changes):
    answer = "a" if p_a > 0.5 else "b"
    return replace(Trace(first, 0, "", "it is better", answer, p_a, False, "ok", False, 12), **changes)


def comparison(*traces, rollouts=1, both_orders=True, prompt="a red square"):
    p_a = sum(each.p_a for each in traces) / len(traces)
    return Comparison(prompt, p_a, traces, rollouts, both_orders, seed=7)


def ranking(*comparisons, anchor=None, choice="image", prompt="a red square"):
    scores = tuple(0.5 if each is None else each.p_a for each in comparisons)
    return Ranking(prompt, scores, anchor, choice, comparisons, 1, both_orders=True, seed=7)


def shown(name, size=(40, 30), colour="red"):
    return Shown(name, picture(Image.new("RGB", size, colour)))


@pytest.fixture(scope="session")
def judged():
    """A ranking of five images and a comparison by the bundled judge, with their exhibits."""
    judge = Judge.load("shapes", listener="shapes-warm-start")
    pairs = ShapesPairs(["flat", "paper"], 3, "test")
    images = [image for pair in (pairs[0], pairs[1], pairs[2]) for image in (pair.image_a, pair.image_b)][:5]
    exhibit = Exhibit("shapes", tuple(Shown(f"img{place}.png", picture(image)) for place, image in enumerate(images)))
    prompt = pairs[0].prompt
    pair = Exhibit("shapes", exhibit.images[:2])
    compared = judge.compare(prompt, *images[:2], rollouts=2, listen=True)
    return (judge.rank(prompt, images), exhibit), (compared, pair)
