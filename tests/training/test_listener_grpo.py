"""A GRPO step on the untrained model: what it depends on, what it reads, what it refuses."""

from dataclasses import replace
from types import MethodType
from typing import Any

import pytest
import torch

from lit_listener.data.demonstrators import AnswerOnly
from lit_listener.objective import policy_loss
from lit_listener.training import grpo_update
from lit_listener.training.lesson import even_shares
from lit_listener.training.listener_grpo import Objective, RewardWeights, Updates
from lit_listener.training.memory_options import Memory
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.listeners import Listener, ModelListener, RandomListener, ReferenceListener, ShuffledListener
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.specs import LoraSpec
from tests.training.several_ranks import KeepsGradients
from tests.training.tiny_runs import BLANK, BabblingGRPO, Listed, data, grpo, pairs, shown, trainer, weights

TIMES = ("time/", "throughput/")


def train(module: Any, folder: Any, steps: int = 1, train: Any = 8, **loader: Any) -> dict[str, float]:
    """Metrics of the last step."""
    run = trainer(folder, steps)
    run.fit(module, data(train, **loader))
    return {name: float(value) for name, value in run.logged_metrics.items()}


def still(parameters: Any) -> torch.optim.Optimizer:
    """Learns nothing, so that every pass is that of the sampling policy."""
    return torch.optim.SGD(parameters, lr=0.0)


class Steps(BabblingGRPO):
    """Keeps what a step asked and sampled, and its advantages."""

    def update(self, asked, step):
        self.asked = asked
        self.sampled = step.rolled.completions
        self.compared = step.rolled.advantages_N
        super().update(asked, step)


class Kept(KeepsGradients, Steps):
    """Keeps gradients and the listener's word as well."""


def trained(folder: Any, max_tokens: int | None, **options: Any) -> tuple[Any, dict[str, float]]:
    """Two rollouts: from the second on, the policy is not its reference, and KL counts."""
    module = grpo(Kept, memory=Memory(max_tokens), **options)
    return module, train(module, folder, steps=2 * module.optimizer_steps_per_batch)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": Objective(normalizer="sequence", kl_weight=0.1)},
        {"objective": Objective(normalizer="token", importance="sequence"), "updates": Updates(2, 2)},
        {"objective": Objective(normalizer="constant"), "updates": Updates(minibatches=2)},
        {"policy": replace(BLANK, lora=LoraSpec(rank=2, alpha=4.0), gradient_checkpointing=True)},
        {"policy": replace(BLANK, train_vision=True, gradient_checkpointing=True), "updates": Updates(2)},
        # a group that the listener alone tells apart is divided by little: its last digits would become the gradient's
        {"listener": ModelListener("shapes-instruct"), "objective": Objective(advantage_scale="batch")},
    ],
    ids=["sequence", "token-gspo-minibatches", "constant", "lora", "vision", "listener"],
)
def test_the_cut_into_passes_changes_nothing(tmp_path, monkeypatch, options):
    """Groups are of 76 to 79 tokens at first, 62 of them the prompt's: each alone, or cut in two."""
    passes = Passes(monkeypatch)
    whole, logged = trained(tmp_path / "whole", None, **options)
    steps = len(whole.kept)
    fewer = passes.scores_of(whole.policy)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in whole.kept[0].values())
    for max_tokens in (150, 75):
        cut, cut_logged = trained(tmp_path / str(max_tokens), max_tokens, **options)
        count = passes.scores_of(cut.policy)
        assert count > fewer
        fewer = count
        assert torch.equal(cut.sampled.ids_NT, whole.sampled.ids_NT)
        for step in range(steps):
            for name, gradient in whole.kept[step].items():
                torch.testing.assert_close(cut.kept[step][name], gradient, atol=1e-5, rtol=0, msg=name)
        for name, weight in weights(whole).items():
            torch.testing.assert_close(weights(cut)[name], weight, atol=1e-6, rtol=0, msg=name)
        for name in logged:
            if not name.startswith(TIMES):
                assert cut_logged[name] == pytest.approx(logged[name], abs=1e-5, rel=1e-5), name
        readable = whole.trail.heard.readable_N
        torch.testing.assert_close(
            cut.trail.heard.p_label_NL[readable], whole.trail.heard.p_label_NL[readable], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("max_tokens", [None, 240, 75])
def test_a_tower_encodes_once_and_a_trained_one_again_in_every_pass_of_an_update(tmp_path, monkeypatch, max_tokens):
    for name, in_updates in (("full", 0), ("vision", 1)):
        passes = Passes(monkeypatch)
        module = grpo(policy=SETUPS[name], memory=Memory(max_tokens), listener=ModelListener("shapes-blank"))
        train(module, tmp_path / name)
        updates = passes.scores_of(module.policy)
        assert passes.encoded.count(module.policy) == 1 + in_updates * updates
        assert passes.encoded.count(module.listener.backbone) == 1
        assert passes.encoded.count(module.reference.copy) == in_updates  # a frozen tower is the policy's own
        assert passes.scores_of(module.listener.backbone) >= (1 if max_tokens is None else 2)


def fresh() -> Any:
    module = grpo()
    module.configure_model()
    return module


def test_completions_differ_in_length_and_in_reward(tmp_path):
    module = grpo(Steps)
    train(module, tmp_path)
    assert len(set(module.sampled.lengths_N.tolist())) > 2
    lengths = module.sampled.lengths_N.view(4, 3).amax(1)
    assert len(set(lengths.tolist())) > 1  # so that micro-batches have other widths than the whole
    assert module.compared.abs().max() > 0.5


def advantage_part(module: Any, rows: slice, normalizer: Any) -> float:
    """The loss at ratio 1 and KL 0, where every token's is minus its completion's advantage, by one call."""
    mask = module.sampled.mask_NT[rows]
    zeros = torch.zeros(mask.shape)
    given = policy_loss(zeros, zeros, zeros, module.compared[rows], mask, normalizer=normalizer, max_length=8)
    return float(given.loss)


@pytest.mark.parametrize("minibatches", [1, 2])
@pytest.mark.parametrize("normalizer", ["sequence", "token", "constant"])
def test_the_loss_is_that_of_each_minibatch_whole(tmp_path, normalizer, minibatches):
    module = grpo(
        Steps,
        objective=Objective(normalizer=normalizer),
        updates=Updates(minibatches=minibatches),
        memory=Memory(240),
        optimizer=still,
    )
    logged = train(module, tmp_path, steps=minibatches)
    size = 12 // minibatches
    expected = [advantage_part(module, slice(at, at + size), normalizer) for at in range(0, 12, size)]
    assert logged["policy/loss"] == pytest.approx(sum(expected) / minibatches, abs=1e-5)


class Away(Steps):
    """A policy that is not its reference."""

    def configure_model(self):
        if self.models is None:
            super().configure_model()
            with torch.no_grad():
                self.policy.model.get_input_embeddings().weight.mul_(1.3)


def test_the_kl_penalty_is_a_part_of_the_loss(tmp_path):
    module = grpo(Away, objective=Objective(normalizer="token", kl_weight=0.3))
    logged = train(module, tmp_path)
    assert logged["policy/kl"] > 0.01
    expected = advantage_part(module, slice(0, 12), "token") + 0.3 * logged["policy/kl"]
    assert logged["policy/loss"] == pytest.approx(expected, abs=1e-5)


def test_an_on_policy_step_has_ratio_one(tmp_path, monkeypatch):
    ratios = watch_ratios(monkeypatch)
    logged = train(grpo(memory=Memory(160)), tmp_path, steps=2)
    assert ratios == [1.0] * 4
    assert logged["policy/clip_share"] == 0


def test_later_epochs_and_minibatches_keep_the_sampling_policys_log_probs(tmp_path, monkeypatch):
    ratios = watch_ratios(monkeypatch)
    module = grpo(updates=Updates(epochs=2, minibatches=2), memory=Memory(90))
    run = trainer(tmp_path, 4)
    run.fit(module, data())
    assert run.global_step == 4  # two epochs of two minibatches: one rollout
    first, second = ratios[:4], ratios[4:]
    assert first[:2] == pytest.approx([1.0, 1.0], abs=1e-5)  # nothing has been updated yet
    assert all(abs(ratio - 1) > 1e-4 for ratio in (*first[2:], *second))


def watch_ratios(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    ratios: list[float] = []

    def noting(*args: Any, **kwargs: Any) -> Any:
        result = policy_loss(*args, **kwargs)
        ratios.append(float(result.ratio))
        return result

    monkeypatch.setattr(grpo_update, "policy_loss", noting)
    return ratios


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_prompts_are_dealt_out_evenly_among_minibatches(parts):
    slices = [(part.start, part.stop) for part in even_shares(4, parts)]
    assert len(slices) == parts
    assert [at for start, stop in slices for at in range(start, stop)] == [0, 1, 2, 3]
    sizes = [stop - start for start, stop in slices]
    assert max(sizes) - min(sizes) <= 1


def test_three_minibatches_of_four_prompts_are_three_optimizer_steps(tmp_path):
    module = grpo(updates=Updates(minibatches=3))
    run = trainer(tmp_path, -1, max_epochs=1)
    run.fit(module, data(8))
    assert run.global_step == 2 * 3
    assert module.optimizer_steps_per_batch == 3


def test_every_optimizer_step_has_a_gradient_of_its_own(tmp_path, monkeypatch):
    """At rate 0 the second epoch's minibatches are those of the first, and so are their gradients."""
    norms: list[float] = []
    clip = grpo().clip_to_norm.__func__
    monkeypatch.setattr(BabblingGRPO, "clip_to_norm", lambda self: norms.append(n := clip(self)) or n)
    trainer(tmp_path, 4).fit(grpo(optimizer=still, updates=Updates(epochs=2, minibatches=2)), data())
    assert len(norms) == 4
    assert [float(norm) for norm in norms[2:]] == pytest.approx([float(norm) for norm in norms[:2]], rel=1e-4)
    assert float(norms[0]) > 0.1


def test_the_sampling_temperature_is_that_of_policy_reference_and_old_policy(tmp_path, monkeypatch):
    """Where the policy is its own reference, KL is 0 and the ratio 1 at any temperature that all of them share."""
    ratios = watch_ratios(monkeypatch)
    options = {"sampling": Sampling(max_new_tokens=8, temperature=0.6)}
    logged = train(grpo(updates=Updates(epochs=2), optimizer=still, **options), tmp_path, steps=2)
    assert logged["policy/kl"] == pytest.approx(0.0, abs=1e-6)
    assert ratios == pytest.approx([1.0, 1.0], abs=1e-5)
    warm = train(grpo(updates=Updates(epochs=2), optimizer=still), tmp_path, steps=2)
    assert abs(logged["policy/entropy"] - warm["policy/entropy"]) > 0.01  # so that it matters


class Passes:
    """Counts what is asked of each backbone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scored: list[tuple[Backbone, Any]] = []
        self.prefilled: list[tuple[Backbone, int]] = []
        self.encoded: list[Backbone] = []
        score, prefill, features = Backbone.score, Backbone.prefill, Backbone.image_features

        def noting_score(backbone: Backbone, packed: Any, *args: Any, **kwargs: Any) -> Any:
            self.scored.append((backbone, packed))
            return score(backbone, packed, *args, **kwargs)

        def noting_prefill(backbone: Backbone, prompts: Any, *args: Any) -> Any:
            self.prefilled.append((backbone, len(prompts)))
            return prefill(backbone, prompts, *args)

        def noting_features(backbone: Backbone, prompts: Any) -> Any:
            self.encoded.append(backbone)
            return features(backbone, prompts)

        monkeypatch.setattr(Backbone, "score", noting_score)
        monkeypatch.setattr(Backbone, "prefill", noting_prefill)
        monkeypatch.setattr(Backbone, "image_features", noting_features)

    def scores_of(self, backbone: Backbone) -> int:
        return sum(scored is backbone for scored, _ in self.scored)


@pytest.mark.parametrize("listener", [ReferenceListener, RandomListener, ShuffledListener])
def test_a_listener_that_hears_the_reference_adds_no_pass(tmp_path, monkeypatch, listener):
    passes = Passes(monkeypatch)
    module = grpo(listener=listener())
    train(module, tmp_path)
    assert len(passes.scored) == 2
    assert passes.scores_of(module.policy) == passes.scores_of(module.reference.copy) == 1
    assert passes.encoded == [module.policy]  # once for rollout, reference, listener and policy


@pytest.mark.parametrize("context", ["own", "reasoner"])
def test_another_model_listens_in_one_pass_of_its_own(tmp_path, monkeypatch, context):
    passes = Passes(monkeypatch)
    module = grpo(listener=ModelListener("shapes-blank", context=context), memory=Memory(10_000))
    train(module, tmp_path)
    assert passes.scores_of(module.listener.backbone) == 1
    assert len(passes.scored) == 3
    assert passes.encoded.count(module.listener.backbone) == 1


def test_a_prompt_and_its_images_are_read_once_for_all_completions(tmp_path, monkeypatch):
    passes = Passes(monkeypatch)
    module = grpo(Steps, group_size=4)
    train(module, tmp_path)
    assert passes.prefilled == [(module.policy, 4)]
    image_id = module.policy.model.config.image_token_id
    prompts = module.reader.encoder.encode([module.task.encode(pair) for pair in shown(4)])
    slots = int((prompts.input_ids_PS == image_id).sum())
    longest = int(module.sampled.lengths_N.view(4, 4).sum(1).max()) + prompts.input_ids_PS.shape[1]
    for _, packed in passes.scored:
        assert len(packed.input_ids_PK) == 4
        assert int((packed.input_ids_PK == image_id).sum()) == slots
        assert packed.input_ids_PK.shape[1] <= longest + 5  # the batch's prompts may be a little longer than these


class Modes(BabblingGRPO):
    """Notes the policy's mode in each of the named steps."""

    def configure_model(self) -> None:
        super().configure_model()
        self.modes: dict[str, set[bool]] = {}
        score = self.policy.score

        def noting(policy: Backbone, *args: Any, **kwargs: Any) -> Any:
            self.modes.setdefault("update" if torch.is_grad_enabled() else "old", set()).add(policy.training)
            return score(*args, **kwargs)

        object.__setattr__(self.policy, "score", MethodType(noting, self.policy))

    def roll_out(self, *asked, **options):
        sampled = super().roll_out(*asked, **options)
        self.modes.setdefault("rollout", set()).add(self.policy.training)
        return sampled

    def ask(self, shown, keys):
        self.modes.setdefault("ask", set()).add(self.policy.training)
        return super().ask(shown, keys)

    def reference_scores(self, asked, completions, transcripts):
        with self.reference.active() as backbone:
            self.modes.setdefault("reference", set()).add(backbone.training)
        return super().reference_scores(asked, completions, transcripts)


@pytest.mark.parametrize("policy", [BLANK, replace(BLANK, lora=LoraSpec(rank=2, alpha=4.0))])
def test_the_policy_trains_in_updates_and_nowhere_else(tmp_path, policy):
    module = grpo(Modes, policy=policy, updates=Updates(epochs=2))
    run = trainer(tmp_path, 4)
    run.fit(module, data(validation={"held_in": pairs(4)}))
    assert module.modes["update"] == {True}
    assert module.modes["rollout"] == module.modes["ask"] == module.modes["reference"] == {False}
    assert not any(part.p for part in module.modules() if isinstance(part, torch.nn.Dropout))


SETUPS = {
    "full": BLANK,
    "vision": replace(BLANK, train_vision=True),
    "lora": replace(BLANK, lora=LoraSpec(rank=2, alpha=4.0)),
}


@pytest.mark.parametrize("name", SETUPS)
def test_only_what_shall_train_changes(tmp_path, name):
    module = grpo(policy=SETUPS[name], listener=ModelListener("shapes-blank"), optimizer=torch.optim.AdamW)
    module.configure_model()
    before = weights(module)
    train(module, tmp_path, steps=2)
    changed = {key for key, value in weights(module).items() if not torch.equal(value, before[key])}
    assert changed <= set(module.trainable)
    assert not any(key.startswith(("reference.", "listener.")) for key in module.trainable)
    assert any(".visual." in key for key in changed) == (name == "vision")
    assert all("lora_" in key for key in changed) == (name == "lora")
    assert any("layers.0." in key for key in changed)


class Deaf(Listener):
    def hear(self, hearing):
        raise ConnectionError("the listener does not answer")


def test_a_listener_that_fails_stops_the_run(tmp_path):
    module = grpo(listener=Deaf())
    module.configure_model()
    before = weights(module)
    run = trainer(tmp_path, 1)
    with pytest.raises(ConnectionError, match="the listener does not answer"):
        run.fit(module, data())
    assert run.global_step == 0
    assert all(torch.equal(value, before[key]) for key, value in weights(module).items())


class Broken(BabblingGRPO):
    """Its gradient is lost in the second step."""

    def clip_to_norm(self):
        if self.trainer.global_step == 1:
            next(p for p in self.policy.parameters() if p.grad is not None).grad[0] = float("nan")
            self.before = weights(self)
        return super().clip_to_norm()


def test_a_gradient_that_is_not_a_number_stops_the_run_and_touches_no_weight(tmp_path):
    module = grpo(Broken)
    run = trainer(tmp_path, 3)
    with pytest.raises(
        FloatingPointError, match=r"the gradient's norm is nan: nothing was updated; lower the learning"
    ):
        run.fit(module, data())
    assert run.global_step == 1
    assert all(torch.equal(value, module.before[key]) for key, value in weights(module).items())


def test_gradients_are_clipped_to_the_norm(tmp_path):
    free, clipped = grpo(), grpo(gradient_clip_norm=0.01)
    start = weights(fresh())
    norm = train(free, tmp_path / "free")["policy/grad_norm"]
    assert train(clipped, tmp_path / "clipped")["policy/grad_norm"] == pytest.approx(norm)  # logged before clipping
    assert norm > 0.01
    # plain gradient descent at rate 0.02: a step as long as 0.02 times the gradient
    for module, length in ((free, 0.02 * norm), (clipped, 0.02 * 0.01)):
        moved = torch.cat([(value - start[key]).flatten() for key, value in weights(module).items()]).norm()
        assert float(moved) == pytest.approx(length, rel=1e-3)


def test_a_tie_is_refused_before_the_rollout(tmp_path, monkeypatch):
    passes = Passes(monkeypatch)
    tied = [replace(pairs(4)[n], share_a=0.5) if n == 2 else pairs(4)[n] for n in range(4)]
    with pytest.raises(ValueError, match=r"pair shapes-train-0-flat\+paper-2 is a tie: .* drop ties from data.train"):
        trainer(tmp_path, 1).fit(grpo(), data(Listed(tied)))
    assert not passes.prefilled


def test_demonstrations_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.traces: GRPO learns from its own thoughts"):
        trainer(tmp_path, 1).fit(grpo(), data(traces=AnswerOnly("red.")))


def test_more_minibatches_than_prompts_are_refused(tmp_path):
    message = r"model.updates.minibatches: 5 optimizer steps an epoch need as many prompts, got a batch of 4"
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, 1).fit(grpo(updates=Updates(minibatches=5)), data())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grpo(group_size=1), r"model.group_size: expected at least 2 completions a prompt, got 1"),
        (lambda: RewardWeights(listener=-0.5), r"model.reward.listener: expected a weight of at least 0, got -0.5"),
        (lambda: Objective(kl_weight=-1.0), r"model.objective.kl_weight: expected at least 0, got -1.0"),
        (lambda: Objective(clip_low=float("nan")), r"model.objective.clip_low: expected at least 0, got nan"),
        (lambda: Updates(epochs=0), r"model.updates.epochs: expected at least 1, got 0"),
        (lambda: Memory(0), r"model.memory.max_tokens_per_pass: expected at least 1 token, got 0"),
        (lambda: Memory(max_rollout_tokens=-1), r"model.memory.max_rollout_tokens: expected at least 1 token, got -1"),
        (lambda: Memory(cached_features_mib=-1.0), r"model.memory.cached_features_mib: expected at least 0, got -1.0"),
        (
            lambda: grpo(policy=SETUPS["vision"], memory=Memory(cached_features_mib=0.5)),
            r"model.memory.cached_features_mib: features \(0.5 MiB of them\) cannot be kept while training changes "
            r"them; set it to 0, or model.policy.train_vision to false",
        ),
        (lambda: grpo(gradient_clip_norm=0.0), r"model.gradient_clip_norm: expected a value above 0, got 0.0"),
        (lambda: grpo(gradient_clip_norm=float("nan")), r"model.gradient_clip_norm: .* got nan"),
    ],
)
def test_options_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_reward_is_equation_5(tmp_path):
    module = grpo(Steps, reward=RewardWeights(accuracy=0.25, listener=2.0))
    train(module, tmp_path)
    trail = module.trail
    shown_pairs, transcripts, rewards, heard = trail.shown, trail.transcripts, trail.rewards, trail.heard
    for n, transcript in enumerate(transcripts):
        label = shown_pairs[n // 3].label
        p_correct = float(heard.p_label_NL[n, label])
        heard_out = transcript.answer_token is not None
        expected = transcript.well_formed + 0.25 * (transcript.answer == label)
        expected += 2.0 * max(0.0, p_correct - 0.5) * heard_out
        assert float(rewards.total_N[n]) == pytest.approx(expected, abs=1e-6)
    assert {transcript.answer_token is None for transcript in transcripts} == {True, False}


@pytest.mark.slow
def test_a_step_does_not_depend_on_the_global_random_state(tmp_path):
    ended = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = grpo()
        train(module, tmp_path / str(seed), steps=2)
        ended.append(weights(module))
    assert all(torch.equal(value, ended[1][key]) for key, value in ended[0].items())


def test_a_completions_stream_is_that_of_its_pair_and_epoch(tmp_path):
    module = grpo(Steps, optimizer=still)
    for epoch in (0, 1):
        train(module, tmp_path / str(epoch), steps=epoch + 1, train=4)
        assert sorted(module.asked.keys) == [(epoch, index) for index in range(4)]


class Learner(Listener):
    """Has a weight that could be trained."""

    def prepare(self, task, tokenizer):
        self.weight = torch.nn.Parameter(torch.ones(2))

    def hear(self, hearing):
        return ReferenceListener().hear(hearing)


def test_a_listener_is_frozen(tmp_path):
    module = grpo(listener=Learner())
    train(module, tmp_path)
    assert not module.listener.weight.requires_grad
    assert not any(name.startswith("listener") for name in module.trainable)
