"""Several listeners as one, by hand-worked numbers."""

import jsonargparse
import pytest
import torch

from lit_listener.vlm.listeners import EnsembleListener, Listener, ModelListener, RandomListener, ReferenceListener
from lit_listener.vlm.loading import load_backbone
from lit_listener.vlm.specs import PolicySpec
from tests.vlm.listeners.heard_shapes import TASK, hearing, shown
from tests.vlm.listeners.saying import Saying

TEXTS = ["<think>red</think><answer>0</answer>"] * 3 + ["<think>red</think>"]


@pytest.fixture(scope="module")
def reader():
    return load_backbone("shapes-instruct", PolicySpec("shapes-instruct"))[1]


def heard(reader, how, *members, labels=(0, 1)):
    return EnsembleListener(list(members), how).hear(hearing(reader, shown(2), 2, TEXTS, labels=list(labels)))


def test_the_mean(reader):
    # (0.2 + 0.6) / 2 = 0.4, (0.9 + 0.5) / 2 = 0.7, (0.1 + 0.8) / 2 = 0.45; discarded (0.1 + 0.3) / 2 = 0.2
    said = heard(
        reader,
        "mean",
        Saying([0.2, 0.9, 0.1, 0.0], discarded=[0.1] * 4),
        Saying([0.6, 0.5, 0.8, 0.0], discarded=[0.3] * 4),
    )
    assert said.p_label_NL[:3, 1].tolist() == pytest.approx([0.4, 0.7, 0.45])
    assert said.p_label_NL.sum(1).tolist() == pytest.approx([1] * 4)
    assert said.discarded_mass_N.tolist() == pytest.approx([0.2] * 4)
    assert said.readable_N.tolist() == [True, True, True, False]


def test_the_least_convinced(reader):
    # label 0 for the first two: the lower p(0) is the higher p(1), max(0.2, 0.6) = 0.6 and max(0.9, 0.5) = 0.9;
    # label 1 for the third: min(0.1, 0.8) = 0.1. The larger discarded mass of both: max(0.1, 0.3) = 0.3
    said = heard(
        reader,
        "min",
        Saying([0.2, 0.9, 0.1, 0.0], discarded=[0.1] * 4),
        Saying([0.6, 0.5, 0.8, 0.0], discarded=[0.3] * 4),
    )
    assert said.p_label_NL[:3, 1].tolist() == pytest.approx([0.6, 0.9, 0.1])
    assert said.discarded_mass_N.tolist() == pytest.approx([0.3] * 4)


def test_without_a_right_label_the_least_convinced_is_the_mean(reader):
    said = heard(reader, "min", Saying([0.2, 0.9, 0.1, 0.0]), Saying([0.6, 0.5, 0.8, 0.0]), labels=(None, 1))
    assert said.p_label_NL[:3, 1].tolist() == pytest.approx([0.4, 0.7, 0.1])


@pytest.mark.parametrize("how", ["mean", "min"])
def test_what_one_member_cannot_hear_is_not_heard(reader, how):
    said = heard(reader, how, Saying([0.2, None, 0.1, 0.0]), Saying([0.6, 0.5, None, 0.0]))
    assert said.readable_N.tolist() == [True, False, False, False]


def test_the_right_image_never_gains_by_a_further_member(reader):
    tables = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).tolist()
    labels = torch.tensor([0, 0, 1, 1])
    two = heard(reader, "min", *[Saying(table) for table in tables[:2]]).p_correct_N(labels)
    three = heard(reader, "min", *[Saying(table) for table in tables]).p_correct_N(labels)
    each = torch.stack(
        [Saying(table).hear(hearing(reader, shown(2), 2, TEXTS)).p_correct_N(labels) for table in tables]
    )
    assert torch.equal(three, each.amin(0))
    assert bool((three <= two).all())


def test_two_models_at_once(reader):
    """The mean of two real listeners is the mean of what each says by itself."""
    members = [ModelListener("shapes-instruct"), ModelListener("shapes-witness", "reasoner")]
    ensemble = EnsembleListener(members)
    ensemble.prepare(TASK, reader.tokenizer)
    given = hearing(reader, shown(3), 2)
    said = ensemble.hear(given)
    alone = [member.hear(given) for member in members]
    torch.testing.assert_close(said.p_label_NL, (alone[0].p_label_NL + alone[1].p_label_NL) / 2)
    assert not torch.allclose(alone[0].p_label_NL, alone[1].p_label_NL, atol=1e-5, rtol=0)
    assert {name.split(".")[1] for name, _ in ensemble.named_parameters()} == {"0", "1"}  # found by who shards them


def test_in_evaluation_controls_give_way():
    one = ModelListener("shapes-instruct")
    ensemble = EnsembleListener([one, ModelListener("shapes-witness")])
    assert ensemble.in_evaluation is ensemble
    mixed = EnsembleListener([one, RandomListener()], "min").in_evaluation
    assert isinstance(mixed, EnsembleListener)
    assert mixed.how == "min"
    assert mixed.members[0] is one
    assert isinstance(mixed.members[1], ReferenceListener)


def test_who_reads_the_reference():
    own = ModelListener("shapes-instruct")
    assert EnsembleListener([own, ReferenceListener()]).reads_reference
    assert not EnsembleListener([own, RandomListener()]).reads_reference


def test_numbers_of_the_members_are_told_apart(reader):
    ensemble = EnsembleListener([Saying([0.5] * 4), Saying([0.5] * 4)])
    ensemble.hear(hearing(reader, shown(2), 2, TEXTS))
    assert ensemble.metrics() == {"saying/hearings_0": 1, "saying/hearings_1": 1}


def test_a_config_names_listeners_within_listeners():
    """As in a run's YAML."""
    kind = "lit_listener.vlm.listeners."
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--listener", type=Listener)
    remote = {"base_url": "http://127.0.0.1:9/v1", "model": "judge", "extra": {"priority": 1}}
    members = [
        {"class_path": f"{kind}RemoteListener", "init_args": remote},
        {
            "class_path": f"{kind}StrippedListener",
            "init_args": {"listener": {"class_path": f"{kind}ReferenceListener"}},
        },
    ]
    given = {"class_path": f"{kind}EnsembleListener", "init_args": {"how": "min", "listeners": members}}
    listener = parser.instantiate_classes(parser.parse_object({"listener": given})).listener
    assert isinstance(listener, EnsembleListener)
    assert listener.how == "min"
    assert [type(member).__name__ for member in listener.members] == ["RemoteListener", "StrippedListener"]
    assert listener.members[0].extra == {"priority": 1}
    assert listener.reads_reference


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"model.listener.listeners: expected two listeners at least, got 1"):
        EnsembleListener([RandomListener()])
    with pytest.raises(ValueError, match=r"model.listener.how: expected one of \['mean', 'min'\], got 'max'"):
        EnsembleListener([RandomListener(), RandomListener()], "max")
