import jsonargparse
import pytest

from lit_listener.data import sources
from lit_listener.data.records import PairSource
from lit_listener.data.sources import HPDv2, Rapidata
from tests.data.tables import rows, write

OPTIONS = {
    "drop_ties": False,
    "min_votes": 2,
    "min_agreement": 0.6,
    "most_confident": 4,
    "fraction": 0.5,
    "seed": 3,
    "on_bad_row": "skip",
    "min_pixels": 2,
    "max_pixels": 400,
    "allow_urls": True,
}


def parsed(name: str, **options):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(PairSource, "train")
    source = {"class_path": f"lit_listener.data.sources.{name}", "init_args": options}
    return parser, parser.parse_object({"train": source})


PAIR_SOURCES = [kind for kind in map(sources.__dict__.get, sources.__all__) if issubclass(kind, PairSource)]


def test_the_sources_of_pairs():
    names = {"HPDv2", "HPDv3", "GenAIBench", "ImageRewardDB", "MMRB2", "PairTable", "PickAPic", "Rapidata"}
    names |= {"ImageGenCoT", "TraceTable"}
    assert {kind.__name__ for kind in PAIR_SOURCES} == names


@pytest.mark.parametrize("source", PAIR_SOURCES)
def test_every_source_takes_the_common_options_in_a_config(source):
    _, config = parsed(source.__name__, path="x", **OPTIONS)
    spelled = config["train"]["init_args"]
    assert {key: spelled[key] for key in OPTIONS} == OPTIONS
    assert "index" not in spelled
    assert "opening" not in spelled


def test_options_reach_the_source(folder):
    votes = [(3, 0), (1, 0), (2, 2), (9, 1), (5, 3), (1, 4), (0, 6)]
    path = write(folder / "t.jsonl", rows(*({"up": up, "down": down} for up, down in votes)))
    parser, config = parsed("PairTable", path=str(path), votes_a="up", votes_b="down", **OPTIONS)
    pairs = parser.instantiate(config).train
    # votes of at least 2 and 60% agreement: rows 0, 3, 4, 5, 6; the four most confident: not 4 (5 of 8); half: 2
    assert len(pairs) == 2
    assert {pair.pair_id for pair in pairs} < {"t-0", "t-3", "t-5", "t-6"}


def test_an_unknown_option_is_refused():
    with pytest.raises((jsonargparse.ArgumentError, TypeError), match="fractoin"):
        parsed("HPDv2", path="x", fractoin=0.5)
    with pytest.raises(TypeError, match="fractoin"):
        HPDv2("x.json", fractoin=0.5)


def test_options_of_one_source_alone():
    own = {
        "HPDv3": ("min_confidence", 0.95),
        "Rapidata": ("criterion", "alignment"),
        "HPDv2": ("scores", "hps"),
        "ImageRewardDB": ("scores", "hps"),
        "PairTable": ("score_b", "hps"),
    }
    for name, (option, value) in own.items():
        assert parsed(name, path="x", **{option: value})[1]["train"]["init_args"][option] == value
    with pytest.raises((jsonargparse.ArgumentError, TypeError), match="beauty"):
        parsed(Rapidata.__name__, path="x", criterion="beauty")
