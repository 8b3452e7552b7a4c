"""Listeners that carry no information: if a listener helps because of what it hears, these must not."""

import numpy as np
import torch
from torch import Tensor

from lit_listener.tasks import Task
from lit_listener.vlm import ranks
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener
from lit_listener.vlm.listeners.reference import ReferenceListener
from lit_listener.vlm.streams import ItemKey, uniforms


class RandomListener(Listener):
    """Uniform noise in place of an ear: the control that would falsify the method.

    Args:
        seed: seed of the noise, which is drawn anew for every completion.
    """

    reads_reference = False

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self._labels = 2

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Count the task's labels."""
        self._labels = len(task.labels)

    @property
    def in_evaluation(self) -> Listener:
        """The reference."""
        return ReferenceListener()

    def hear(self, hearing: Hearing) -> Heard:
        """Of two labels p(second) uniform in [0, 1); of more any distribution over them with the same density."""
        keys: list[ItemKey] = [("random-listener", *key) for key in hearing.keys]
        cuts_NL = uniforms(self.seed, keys, hearing.group_size, self._labels - 1).float().sort(1).values
        p_label_NL = torch.diff(
            cuts_NL, dim=1, prepend=torch.zeros(len(cuts_NL), 1), append=torch.ones(len(cuts_NL), 1)
        )
        return Heard(p_label_NL.flip(1), hearing.readable_N, torch.zeros(len(cuts_NL)))


class ShuffledListener(Listener):
    """The reference listener's own scores, each given to a completion of another prompt: right scale, no information.

    Args:
        seed: seed of the shuffle.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.source = ReferenceListener()

    @property
    def in_evaluation(self) -> Listener:
        """The reference."""
        return ReferenceListener()

    def hear(self, hearing: Hearing) -> Heard:
        """Permute p(correct) among the readable completions, always across prompts.

        Where one prompt has more than half of them, no permutation does that: its completions then share the others'
        scores. Where it has all of them, none is heard.

        Scores are permuted over the prompts of all ranks, in the order in which one process would have them.

        Raises:
            ValueError: fewer than two prompts, or a pair without a winner.
        """
        own, prompts = len(hearing.shown), len(hearing.shown) * ranks.world_size()
        if prompts < 2:
            raise ValueError(f"ShuffledListener needs at least 2 prompts to shuffle between, got {prompts}")
        labels = hearing.labels
        if any(label is None for label in labels):
            raise ValueError("ShuffledListener needs pairs with a winner; drop ties from the data")
        heard = self.source.hear(hearing)
        labels_N = torch.tensor(labels).repeat_interleave(hearing.group_size)
        prompt_N = torch.arange(prompts).repeat_interleave(hearing.group_size)
        readable = ranks.dealt_together(heard.readable_N, own).nonzero().flatten()
        first_key = ranks.gathered(torch.tensor([_numbers(hearing.keys[0])]))[0].tolist()
        rng = np.random.default_rng([self.seed, *first_key])
        sources = _from_other_prompts(prompt_N[readable], rng)
        if sources is None:
            return Heard(heard.p_label_NL, torch.zeros_like(heard.readable_N), heard.discarded_mass_N)
        p_correct_N = ranks.dealt_together(heard.p_correct_N(labels_N), own)
        p_correct_N[readable] = p_correct_N[readable[sources]]
        p_correct_N = ranks.own_share(p_correct_N, own)
        labels_count = heard.p_label_NL.shape[1]
        p_label_NL = ((1 - p_correct_N) / (labels_count - 1))[:, None].repeat(1, labels_count)
        p_label_NL.scatter_(1, labels_N[:, None], p_correct_N[:, None])
        return Heard(p_label_NL, heard.readable_N, heard.discarded_mass_N)


def _from_other_prompts(prompt_R: Tensor, rng: np.random.Generator) -> Tensor | None:
    """For each of R completions, sorted by prompt, the place of one of another prompt; None where there is none."""
    total, counts = len(prompt_R), prompt_R.bincount()
    largest = int(counts.max()) if total else 0
    if largest == total:
        return None
    if largest <= total - largest:  # a shift by at least the largest prompt's share leaves every prompt
        return torch.arange(total).roll(int(rng.integers(largest, total - largest + 1)))
    inside, outside = (part.nonzero().flatten() for part in (prompt_R == counts.argmax(), prompt_R != counts.argmax()))
    sources = torch.empty_like(prompt_R)
    sources[inside] = outside[torch.arange(largest) % len(outside)]
    sources[outside] = inside[torch.from_numpy(rng.permutation(largest)[: len(outside)])]
    return sources


def _numbers(key: ItemKey) -> list[int]:
    return [part for part in key if isinstance(part, int)]
