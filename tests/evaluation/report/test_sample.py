import base64
import io

import pytest
from PIL import Image

from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.report.sample import FLAGS, flags_of, sample
from tests.evaluation.report.conftest import made_up_images, made_up_runs


def flags(*rows):
    (pair,) = judged_pairs(rows)
    return flags_of(pair)


def test_flags_by_hand(predict):
    # People prefer image b (share_a 0.25): label 1 where a is first, 0 where b is.
    good = predict(first="a", label=1, answer=1, p_second=0.75)
    mirrored = predict(first="b", label=0, answer=0, p_second=0.25)
    assert flags(good, mirrored) == ()
    # Shown b first it says "second", image a, with 0.6: it flips, and the mean p_a = (0.25 + 0.6) / 2 is still right.
    assert flags(good, predict(first="b", label=0, answer=1, p_second=0.6)) == ("flip",)
    # With 0.9 the mean p_a is 0.575: wrong as well.
    assert flags(good, predict(first="b", label=0, answer=1, p_second=0.9)) == ("error", "flip")
    assert flags(good, predict(first="b", label=0, answer=None, p_second=None)) == ("unreadable",)
    assert flags(predict(answer=None, p_second=None)) == ("error", "unreadable")
    assert flags(predict(contradicts=True)) == ("contradiction",)
    # Level scores name neither image: that is an error, but no flip.
    assert flags(good, predict(first="b", label=0, answer=0, p_second=0.5)) == ()
    assert flags(predict(p_second=0.5)) == ("error",)
    assert flags(predict(first="a", p_second=0.1), predict(first="b", label=0, answer=0, p_second=0.5)) == ("error",)
    # Where people are tied, nothing is right or wrong.
    assert flags(predict(share_a=0.5, label=None, p_second=0.9)) == ()


def test_all_pairs_where_there_are_few(runs, images):
    drawn = sample(runs, images)
    assert drawn.runs == tuple(runs)
    assert drawn.of == len(drawn.pairs) == 60
    assert [pair.source for pair in drawn.pairs] == ["held out"] * 30 + ["held_in"] * 30
    for pair in drawn.pairs:
        assert set(pair.by_run) == set(runs)
        for run, judged in pair.by_run.items():
            assert {row.pair_id for row in judged.rows} == {pair.any_row.pair_id}
            assert all(row in runs[run] for row in judged.rows)


def test_the_odd_ones_are_there(predict):
    runs = made_up_runs(predict, 400)
    # One pair in four hundred contradicts itself, and it is among the forty.
    runs = {run: [row for row in rows if not row.contradicts or row.index == 197] for run, rows in runs.items()}
    drawn = sample(runs, lambda row: None, limit=40)
    assert len(drawn.pairs) == 40
    found = {flag for pair in drawn.pairs for judged in pair.by_run.values() for flag in flags_of(judged)}
    assert found == set(FLAGS)
    assert {pair.source for pair in drawn.pairs} == {"held_in", "held out"}
    assert drawn.of == len({row.pair_id for row in runs["listener_grpo"]})


def test_ordinary_pairs_keep_half(predict):
    rows = [predict(pair_id=f"{index}", index=index, contradicts=index < 500, p_second=0.75) for index in range(1000)]
    drawn = sample({"run": rows}, lambda row: None, limit=100)
    odd = sum(pair.any_row.contradicts for pair in drawn.pairs)
    # 50 places are for odd ones, and of the other 50 about half fall on odd ones too (5 standard deviations: 18).
    assert 50 <= odd <= 50 + 25 + 18


def test_a_seed_draws_the_same(predict):
    runs = made_up_runs(predict, 100)

    def ids(runs, seed=0):
        return {pair.any_row.pair_id for pair in sample(runs, lambda row: None, limit=20, seed=seed).pairs}

    backwards = {run: rows[::-1] for run, rows in runs.items()}
    assert ids(runs) == ids(runs) == ids(backwards)
    assert ids(runs, 1) != ids(runs)


def test_images_are_small_and_kept_once(predict):
    red, blue = Image.new("RGB", (1000, 500), "red"), Image.new("RGB", (40, 60), "blue")
    rows = [predict(pair_id=f"{index}") for index in range(3)]
    drawn = sample({"run": rows}, lambda row: (red, blue))
    assert len(drawn.pictures) == 2
    a, b = drawn.pairs[0].images
    assert (a.generator, b.generator) == ("crisp", "faded")
    sizes = []
    for shown in (a, b):
        head, data = drawn.pictures[shown.picture].split(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            sizes.append(image.size)
            wanted = (255, 0, 0) if shown is a else (0, 0, 255)
            assert max(abs(x - y) for x, y in zip(image.getpixel((5, 5)), wanted, strict=True)) < 4
    assert sizes == [(256, 128), (40, 60)]  # never enlarged
    assert red.size == (1000, 500)  # the caller's image is as it was


def test_images_that_cannot_be_had(runs):
    drawn = sample(runs, made_up_images)
    lost = [pair for pair in drawn.pairs if pair.any_row.index == 10]
    assert [shown.reason for shown in lost[0].images] == ["there is no image pictures/10.png"] * 2
    assert [shown.picture for shown in lost[0].images] == [None, None]
    assert {shown.reason for shown in sample(runs, lambda row: None).pairs[0].images} == {"there is no image"}

    def bug(row):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        sample(runs, bug)


def test_a_run_that_did_not_judge_a_pair(predict):
    drawn = sample({"one": [predict()], "two": [predict(pair_id="pair-1")], "three": []}, lambda row: None)
    assert [set(pair.by_run) for pair in drawn.pairs] == [{"one"}, {"two"}]
    assert sample({}, lambda row: None).pairs == ()


def test_wrong_arguments(predict):
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        sample({}, lambda row: None, limit=0)
    with pytest.raises(ValueError, match="has rollout 0 with image a first twice"):
        sample({"run": [predict(), predict()]}, lambda row: None)
    with pytest.raises(ValueError, match=r"'pair-0' of source '' is not the same in 'one' .*0\.25.* and 'two' .*0\.75"):
        sample({"one": [predict()], "two": [predict(share_a=0.75, label=0)]}, lambda row: None)
