"""The alarms on tiny trainings: silent on healthy ones, and each fault, made on purpose, alarms."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from lit_listener.cli import build_cli
from lit_listener.tasks import Transcript
from lit_listener.training import TraceSFT
from lit_listener.training.grpo_options import Objective, RewardWeights
from lit_listener.training.watch.alarms import Alarms
from lit_listener.training.watch.detectors import RolloutFacts
from tests.training.tiny_runs import Babble, data, grpo, trainer

CONFIGS = Path(__file__).parents[3] / "configs"


class SameForAll(Babble):
    """A broken scorer."""

    def format_reward(self, transcripts: Sequence[Transcript]) -> list[float]:
        return [0.2] * len(transcripts)


class Saturated(Babble):
    """Differences of a thousandth are left."""

    def format_reward(self, transcripts: Sequence[Transcript]) -> list[float]:
        return [0.998 + 0.001 * (n % 3) for n in range(len(transcripts))]


class FallsSilent(Babble):
    """Of the first 24 completions all can be read, and none after."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def parse(self, token_bytes: Sequence[bytes], *, truncated: bool) -> Transcript:
        self.count += 1
        return replace(super().parse(token_bytes, truncated=truncated), answer=0 if self.count <= 24 else None)


def fast(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.03)


def alarms_of(folder: Path, steps: int, alarms: Alarms, *others: Callback, **options: Any) -> list[str]:
    """The alarms of a tiny run, each as 'rollout: metric'."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(folder, steps, alarms, *others).fit(grpo(**options), data(4 * steps))
    return [text for text in (str(warning.message) for warning in caught) if text.startswith("alarm after rollout")]


def numbers(**metrics: float) -> RolloutFacts:
    """A healthy rollout, but for what is named."""
    healthy = {
        "group/zero_variance_share": 0.2,
        "group/reward_std": 0.2,
        "policy/kl": 0.3,
        "policy/grad_norm": 0.3,
        "completion/unparsable_share": 0.0,
    }
    return RolloutFacts(0.0, 1.5, healthy | {name.replace("__", "/"): value for name, value in metrics.items()})


def test_a_healthy_run_is_left_in_peace(tmp_path):
    # two rollouts of 12 completions that babble: their unreadable share is mostly noise
    assert alarms_of(tmp_path, 8, Alarms(window=2, patience=2, unparsable_rise=0.4)) == []


NOTHING_COUNTS = RewardWeights(accuracy=0.0, listener=0.0)
BROKEN = {"task": SameForAll(), "reward": NOTHING_COUNTS}
PULLED_BACK = {"optimizer": fast, "objective": Objective(kl_weight=10.0)}
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "constant": (BROKEN, {}, "had the reward 0.2 over the last 2 rollouts"),
    "even": (BROKEN, {}, "group/zero_variance_share was 1.00"),
    # rewards of 0.998, 0.999 and 1 in each group: deviation sqrt(2/3) x 0.001
    "saturated": ({"task": Saturated(), "reward": NOTHING_COUNTS}, {}, "deviated by 0.00082"),
    "kl": ({"optimizer": fast}, {"window": 1}, "and 0 over the first 1: training is running away"),
    "grad_norm": (PULLED_BACK, {"window": 1, "explosion": 2.0}, "policy/grad_norm was"),
    "silent": ({"task": FallsSilent()}, {}, "completion/unparsable_share was 1.00 over the last 2 rollouts, and 0.00"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_made_on_purpose_alarms(tmp_path, fault):
    options, settings, told = FAULTS[fault]
    given = alarms_of(tmp_path, 6, Alarms(**{"window": 2, "patience": 2} | settings), **options)
    assert any(told in alarm for alarm in given), given


def test_tiny_differences_are_no_fault_where_nothing_is_divided_by_them(tmp_path):
    options = {"task": Saturated(), "reward": NOTHING_COUNTS, "objective": Objective(advantage_scale="none")}
    assert alarms_of(tmp_path, 3, Alarms(window=2), **options) == []


def test_no_window_means_no_alarms(tmp_path):
    assert alarms_of(tmp_path, 3, Alarms(window=0, patience=1), task=SameForAll(), reward=NOTHING_COUNTS) == []


def test_supervised_training_has_no_alarms():
    Alarms(window=1, patience=1).on_train_batch_end(None, TraceSFT.__new__(TraceSFT))  # type: ignore[arg-type]


def test_an_alarm_that_goes_on_is_repeated_and_not_more_often():
    alarms = Alarms(window=2, repeat_after=3)
    given = [bool(alarms.see(numbers(group__zero_variance_share=1.0, group__reward_std=0.0))) for _ in range(9)]
    # rollout 2 is the first with a full window; then 5 and 8
    assert given == [False, True, False, False, True, False, False, True, False]


def test_an_alarm_that_comes_back_is_given_again():
    alarms = Alarms(window=1, repeat_after=2)
    shares = (1.0, 0.2, 1.0, 0.2, 0.2, 1.0)
    given = [bool(alarms.see(numbers(group__zero_variance_share=share))) for share in shares]
    assert given == [True, False, True, False, False, True]


def test_what_was_seen_and_said_outlives_a_restart():
    explosion = [numbers(policy__kl=value) for value in (0.2, 0.4, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)]
    straight = Alarms(window=2, patience=2, repeat_after=3)
    unbroken = [straight.see(one) for one in explosion]
    assert [bool(given) for given in unbroken] == [False, False, False, True, False, False, True, False]
    for at in range(len(explosion)):
        before, after = (Alarms(window=2, patience=2, repeat_after=3) for _ in range(2))
        given = [before.see(one) for one in explosion[:at]]
        after.load_state_dict(before.state_dict())
        assert given + [after.see(one) for one in explosion[at:]] == unbroken


def test_a_shorter_window_after_a_restart_looks_at_the_last_rollouts():
    before, after = Alarms(window=4), Alarms(window=2)
    for share in (0.1, 0.2, 0.3, 1.0, 0.9):
        before.see(numbers(group__zero_variance_share=share))
    after.load_state_dict(before.state_dict())
    assert after.detectors["even_groups"].recent == [1.0, 0.9]
    assert after.detectors["kl"].first == [0.3, 0.3]


def test_a_checkpoint_holds_what_was_seen(tmp_path):
    run = trainer(tmp_path, 3, Alarms(window=2, patience=2))
    run.fit(grpo(), data(12))
    run.save_checkpoint(tmp_path / "a.ckpt")
    alarms = Alarms(window=2, patience=2)
    trainer(tmp_path, 4, alarms).fit(grpo(), data(12), ckpt_path=tmp_path / "a.ckpt", weights_only=False)
    assert alarms.state_dict()["rollouts"] == 4
    assert len(alarms.detectors["kl"].first) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"window": -1}, r"alarms\.window: expected at least 0, got -1"),
        ({"patience": 0}, r"alarms\.patience: expected at least 1, got 0"),
        ({"tiny_spread": -0.1}, r"alarms\.tiny_spread: expected at least 0, got -0\.1"),
        ({"repeat_after": 0}, r"alarms\.repeat_after: expected at least 1, got 0"),
        ({"even_groups": 1.2}, r"alarms\.even_groups: expected a share in \[0, 1\], got 1\.2"),
        ({"unparsable_rise": float("nan")}, r"alarms\.unparsable_rise: expected a share"),
        ({"explosion": 1.0}, r"alarms\.explosion: expected a factor above 1, got 1\.0"),
    ],
)
def test_options_out_of_range_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        Alarms(**options)


@pytest.mark.slow
def test_a_shipped_run_raises_no_alarm(tmp_path):
    config = yaml.safe_load((CONFIGS / "shapes" / "grpo_listener.yaml").read_text())
    config["trainer"] |= {"max_steps": 30, "enable_progress_bar": False, "limit_val_batches": 0}
    config["model"]["init_args"]["group_size"] = 4
    config["data"] |= {"batch_size": 8}
    cli = build_cli({**config, "run_dir": str(tmp_path)}, run=False)
    alarms = Alarms()
    cli.trainer.callbacks.append(alarms)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cli.trainer.fit(cli.model, cli.datamodule)
    assert alarms.state_dict()["rollouts"] == 30
    assert [str(warning.message) for warning in caught if "alarm after" in str(warning.message)] == []
