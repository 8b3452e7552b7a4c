"""What is told of a group is what a training step makes of it: the same completions, rewards and advantages."""

import io

import pytest
import torch
from rich.console import Console

from lit_listener.data.records import PreferencePair
from lit_listener.data.shown import Demonstration, ShownPair
from lit_listener.tasks import PairwisePreference
from lit_listener.training import ListenerGRPO
from lit_listener.training.groups import DynamicSampling
from lit_listener.training.grpo_options import Objective, RewardWeights
from lit_listener.training.inspected_table import group_table
from lit_listener.training.inspection import heat_of_completion, inspect_groups
from lit_listener.training.rewards import LengthPenalty
from lit_listener.vlm.listeners import RandomListener
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import PolicySpec
from tests.training.tiny_runs import TEMPLATE, Listed, data, grpo, pairs, shown, trainer, weights

WARM = PolicySpec("shapes-instruct", start="shapes-warm-start")


def thinking(**options):
    """The bundled start, which thinks."""
    task = PairwisePreference(template=TEMPLATE, system=None)
    sampling = Sampling(max_new_tokens=64)
    return grpo(ListenerGRPO, **{"policy": WARM, "task": task, "sampling": sampling, "group_size": 4, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"objective": Objective(advantage_scale="batch"), "reward": RewardWeights(accuracy=0.25, listener=2.0)},
        {"reward_terms": {"short": LengthPenalty(4, weight=0.1)}},
    ],
    ids=["papers", "weights", "further term"],
)
def test_it_is_what_a_training_step_learns_from(tmp_path, options):
    module = grpo(**options)
    run, batches = trainer(tmp_path, 1), data()
    run.fit(module, batches)
    trail = module.trail
    (fresh := grpo(**options)).configure_model()
    before = weights(fresh)
    groups = inspect_groups(fresh, trail.shown)
    rows = [row for group in groups for row in group.completions]
    assert [row.said.text for row in rows] == [transcript.text for transcript in trail.transcripts]
    mean = sum(row.total for row in rows) / len(rows)
    assert mean == pytest.approx(float(run.logged_metrics["reward/total"]), abs=1e-6)
    assert [row.advantage for row in rows] == pytest.approx(trail.advantages_N.tolist(), abs=1e-6)
    assert any(abs(row.advantage) > 0.1 for row in rows)
    for place, name in enumerate(trail.rewards.names):
        values = [row.terms[place].value for row in rows]
        assert {row.terms[place].name for row in rows} == {name}
        assert values == pytest.approx(trail.rewards[name].tolist(), abs=1e-6)
        assert sum(values) / len(values) == pytest.approx(float(run.logged_metrics[f"reward/{name}"]), abs=1e-6)
    for n, row in enumerate(rows):
        assert row.total == pytest.approx(sum(term.worth for term in row.terms), abs=1e-6)
        assert row.rollout == n % 3
        assert row.tokens == int(trail.completions.lengths_N[n])
        readable = bool(trail.heard.readable_N[n])
        assert (row.p_correct is None, row.own_p_correct is None) == (not readable, not readable)
        if readable:
            assert row.p_correct == pytest.approx(float(trail.rewards.p_correct_N[n]), abs=1e-6)
            label = groups[n // 3].label
            assert row.own_p_correct == pytest.approx(float(run_own(trail)[n, label]), abs=1e-6)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(fresh).items())
    assert fresh.trail.shown is None  # no step was made


def run_own(trail):
    return trail.completions.p_label_at([transcript.answer_token for transcript in trail.transcripts])


def test_every_pair_is_told_of_whatever_a_step_would_choose():
    chosen, all_of_them = grpo(groups=DynamicSampling(4)), grpo()
    told = [inspect_groups(module, shown(2)) for module in (chosen, all_of_them)]
    for one, other in zip(*told, strict=True):
        assert one.completions == other.completions
    assert inspect_groups(all_of_them, []) == []


def test_a_trace_of_a_group_is_heard_sentence_by_sentence():
    module = thinking()
    groups = inspect_groups(module, shown(2))
    heard = [(group, row) for group in groups for row in group.completions if row.said.think]
    assert {group.label for group, _ in heard} == {0, 1}
    for group, row in heard:
        heat = heat_of_completion(module, group, row.rollout)
        assert heat.p_end == pytest.approx(row.p_correct, abs=1e-5)
        assert heat.thinking == row.said.think
        assert all(each.text in row.said.think for each in heat.sentences)
        assert len(heat.sentences) >= 3
    contradicting = next((group, row) for group, row in heard if row.contradicts and row.terms[1].value == 1)
    heat = heat_of_completion(module, contradicting[0], contradicting[1].rollout, leave_one_out=True)
    assert heat.hottest is heat.sentences[-1]
    assert heat.sentences[-1].gain < -0.5
    assert heat.sentences[-1].missed == pytest.approx(heat.sentences[-1].gain, abs=1e-5)
    with pytest.raises(IndexError, match="rollout: expected one of the group's 4 completions, got 4"):
        heat_of_completion(module, groups[0], 4)


def test_of_a_control_the_reference_is_asked():
    module, noisy = thinking(), thinking(listener=RandomListener())
    group, other = (inspect_groups(each, shown(1))[0] for each in (module, noisy))
    assert group.completions[0].p_correct != other.completions[0].p_correct
    heats = [heat_of_completion(*each, 0).p_end for each in ((module, group), (noisy, other))]
    assert heats[0] == pytest.approx(heats[1], abs=1e-5)


def test_what_teaches_nothing_is_refused():
    pair = pairs(1)[0]
    tied = PreferencePair(pair.prompt, pair.image_a, pair.image_b, 0.5, 10, "tied", "")
    module = grpo()
    with pytest.raises(ValueError, match="tie"):
        inspect_groups(module, [ShownPair(Listed([tied])[0], "a", 0)])
    with pytest.raises(ValueError, match=r"data\.traces: GRPO learns from its own thoughts"):
        inspect_groups(module, [Demonstration(shown(1)[0], "the first is better.", 0)])
    assert module.models is None  # before the weights are read


def test_the_table_has_a_line_a_completion():
    module = grpo(reward=RewardWeights(accuracy=0.5, listener=0.25))
    (group,) = inspect_groups(module, shown(1))
    console = Console(file=io.StringIO(), width=200)
    console.print(group_table(group, module.task), highlight=False)
    text = console.file.getvalue()
    assert f"{group.shown.prompt!r}, right: {module.task.in_words(group.label)}" in text
    assert "format x 1" in text
    assert "listener x 0.25" in text
    for row in group.completions:
        own, heard = ("-" if p is None else f"{p:.3f}" for p in (row.own_p_correct, row.p_correct))
        cells = [own, heard, *(f"{term.worth:.3f}" for term in row.terms), f"{row.total:.3f}", f"{row.advantage:+.2f}"]
        assert any(
            line.split()[0] == str(row.rollout) and " ".join(cells) in " ".join(line.split())
            for line in text.splitlines()
            if line.split()
        )
