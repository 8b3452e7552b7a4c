import pytest

from lit_listener.data.sources import GenAIBench
from tests.data.published import cell, loaded, parquet, tone

VOTES = ["leftvote", "rightvote", "tievote", "bothbad_vote", "leftvote"]


def rows() -> list[dict]:
    return [
        {
            "prompt": f"prompt {n}",
            "left_model": "sdxl",
            "left_image": cell(2 * n),
            "right_model": "playground",
            "right_image": cell(2 * n + 1),
            "vote_type": vote,
        }
        for n, vote in enumerate(VOTES)
    ]


@pytest.fixture
def released(folder):
    parquet(folder / "image_generation" / "test-00000-of-00001.parquet", rows())
    parquet(folder / "image_generation" / "test_v1-00000-of-00001.parquet", rows()[:1])
    parquet(folder / "image_edition" / "test-00000-of-00001.parquet", [{"prompt": "x", "source": 1}])
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_votes(released, workers):
    pairs = GenAIBench(released, drop_ties=False)
    found = [(p.prompt, p.share_a, p.votes, tone(p.image_a), tone(p.image_b)) for p in loaded(pairs, workers)]
    shares = [1.0, 0.0, 0.5, 0.5, 1.0]
    assert found == [(f"prompt {n}", share, 0, 2 * n, 2 * n + 1) for n, share in enumerate(shares)]
    assert (pairs[0].generator_a, pairs[0].generator_b) == ("sdxl", "playground")
    alone = GenAIBench(released / "image_generation")
    assert [p.prompt for p in alone] == ["prompt 0", "prompt 1", "prompt 4"]
    assert (alone.counts.pairs, alone.counts.ties) == (5, 2)
    assert len(GenAIBench(released, split="test_v1")) == 1


def test_columns_that_are_not_there(released):
    with pytest.raises(ValueError, match=r"no column 'left_image' or 'right_image' or 'vote_type'; the columns are"):
        GenAIBench(released / "image_edition")
    with pytest.raises(ValueError, match="min_votes=3: the source does not tell how many people voted"):
        GenAIBench(released, min_votes=3)


@pytest.mark.parametrize("vote", ["both", None])
def test_a_vote_of_another_kind(folder, vote):
    some = rows()
    some[1]["vote_type"] = vote
    path = parquet(folder / "t.parquet", some)
    message = rf"row 1, column 'vote_type': expected one of leftvote, rightvote, tievote, bothbad_vote, got {vote!r}"
    with pytest.raises(ValueError, match=message):
        GenAIBench(path)
    pairs = GenAIBench(path, on_bad_row="skip")
    assert ([p.prompt for p in pairs], pairs.counts.skipped_rows) == (["prompt 0", "prompt 4"], 1)
