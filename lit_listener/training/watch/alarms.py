"""Alarms: what goes wrong in GRPO without stopping it, told while there is still something to be done about it.

Supervised fine-tuning has none of these faults, and no alarms.
"""

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn

from lit_listener.training.listener_grpo import ListenerGRPO
from lit_listener.training.watch.detectors import (
    ConstantRewards,
    Detector,
    EvenGroups,
    Explosion,
    RolloutFacts,
    TinySpreads,
    UnreadableRise,
)

_KL_FLOOR = 0.1
"""Nats a token. A policy that starts as its reference starts at 0, and any learning is a great multiple of that."""
_GRADIENT_FLOOR = 0.5
"""Norm. Where all first groups are even, the first gradients are 0."""


class Alarms(Callback):
    """Warns of what goes wrong without stopping a GRPO run; each alarm says what was seen and what to do.

    Args:
        window: rollouts that an alarm looks back over, and first rollouts that count as the start; 0 for no alarms.
        patience: rollouts in a row with one and the same reward, or whose median KL or gradient explodes, before there
            is alarm; at least 1.
        even_groups: share of groups with equal rewards from which there is alarm, in [0, 1].
        tiny_spread: deviation of the rewards within uneven groups up to which there is alarm, in units of reward.
        explosion: times their start at which policy/kl and policy/grad_norm explode; above 1.
        unparsable_rise: rise of completion/unparsable_share above its start from which there is alarm, in [0, 1].
        repeat_after: rollouts before an alarm that goes on, or comes back, is given again; at least 1.
    """

    def __init__(
        self,
        window: int = 10,
        patience: int = 5,
        even_groups: float = 0.95,
        tiny_spread: float = 0.02,
        explosion: float = 10.0,
        unparsable_rise: float = 0.1,
        repeat_after: int = 50,
    ) -> None:
        for name, value, least in (
            ("window", window, 0),
            ("patience", patience, 1),
            ("tiny_spread", tiny_spread, 0),
            ("repeat_after", repeat_after, 1),
        ):
            if not value >= least:
                raise ValueError(f"alarms.{name}: expected at least {least}, got {value}")
        for name, share in (("even_groups", even_groups), ("unparsable_rise", unparsable_rise)):
            if not 0 <= share <= 1:
                raise ValueError(f"alarms.{name}: expected a share in [0, 1], got {share}")
        if not explosion > 1:
            raise ValueError(f"alarms.explosion: expected a factor above 1, got {explosion}")
        self.window = window
        self.repeat_after = repeat_after
        self.detectors: dict[str, Detector] = {
            "constant_rewards": ConstantRewards(patience),
            "even_groups": EvenGroups(window, even_groups),
            "tiny_spreads": TinySpreads(window, tiny_spread),
            "kl": Explosion("policy/kl", patience, window, explosion, _KL_FLOOR),
            "grad_norm": Explosion("policy/grad_norm", patience, window, explosion, _GRADIENT_FLOOR),
            "unparsable_share": UnreadableRise(window, window, unparsable_rise),
        }
        self._rollouts = 0
        self._given: dict[str, int] = {}

    def state_dict(self) -> dict[str, Any]:
        """What was seen, and which alarms were given when: a resumed run goes on watching, it does not start anew."""
        seen = {name: {"first": d.first, "recent": d.recent} for name, d in self.detectors.items()}
        return {"rollouts": self._rollouts, "given": dict(self._given), "seen": seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on watching; where the options changed since, what was seen is cut to the new lengths."""
        self._rollouts = state["rollouts"]
        self._given = dict(state["given"])
        for name, seen in state["seen"].items():
            detector = self.detectors[name]
            detector.first = list(seen["first"][: detector.start])
            detector.recent = list(seen["recent"][-detector.window :])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Tiny differences stay tiny where advantages are not divided by anything."""
        if isinstance(pl_module, ListenerGRPO) and pl_module.objective.advantage_scale == "none":
            self.detectors.pop("tiny_spreads", None)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Warn of what a rollout shows."""
        if self.window and isinstance(pl_module, ListenerGRPO):
            for warning in self.see(RolloutFacts.of(pl_module.trail)):
                rank_zero_warn(warning)

    def see(self, facts: RolloutFacts) -> list[str]:
        """Take a rollout in. Returns the alarms that are due."""
        self._rollouts += 1
        due = []
        for name, detector in self.detectors.items():
            wrong = detector.see(facts)
            given = self._given.get(name)
            if wrong is not None and (given is None or self._rollouts - given >= self.repeat_after):
                self._given[name] = self._rollouts
                due.append(f"alarm after rollout {self._rollouts}: {wrong}.")
        return due
