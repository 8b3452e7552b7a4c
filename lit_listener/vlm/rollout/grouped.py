"""The in-process engine: a prompt and its images are read once a group, and decoding reads their keys once a group too.

Every decoding step reads and writes tensors that stay where they are, and asks the device nothing: whether rows have
finished is looked up every few tokens. So a step can be captured as a CUDA graph and replayed, without the thousand
kernel launches that a small batch otherwise waits for. Rows that have finished leave the batch as they pile up.
"""

import contextlib
import warnings
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import Tensor

from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.group_cache import GroupCache
from lit_listener.vlm.rollout.engine import (
    Draw,
    RolloutEngine,
    Sampler,
    completions_of,
    refuse_no_numbers,
    refuse_training_mode,
    uniforms_on,
)
from lit_listener.vlm.sharding import is_sharded
from lit_listener.vlm.streams import uniforms

_SIGHT_OF_GRAPHS = 256
"""A graph looks at this many of a completion's places, or a multiple: fewer graphs, for some places too many."""


class GroupedRollout(RolloutEngine):
    """Decodes all groups together, each over one copy of its prompt's keys and values.

    Args:
        cuda_graphs: capture decoding steps as CUDA graphs (on a GPU only, and not where weights are sharded).
        look_every: tokens between two looks at which rows have finished; at least 1. null: each token on a CPU, where
            looking costs nothing, and every 16 on a GPU.
        drop_share: share of the batch that must have finished before its rows leave it, which copies what the others
            have in the cache; above 0, and above 1 for never. null: a quarter; half where graphs are captured anew.
    """

    def __init__(
        self, cuda_graphs: bool = True, look_every: int | None = None, drop_share: float | None = None
    ) -> None:
        if look_every is not None and look_every < 1:
            raise ValueError(f"model.engine.look_every: expected at least 1 token, got {look_every}")
        if drop_share is not None and not drop_share > 0:
            raise ValueError(f"model.engine.drop_share: expected a share above 0, got {drop_share}")
        self.cuda_graphs = cuda_graphs
        self.look_every = look_every
        self.drop_share = drop_share

    @torch.no_grad()
    def draw(self, backbone: Backbone, prompts: PromptBatch, features_MD: Tensor, asked: Draw) -> Completions:
        """Draw G completions for each of P prompts; see ``RolloutEngine``."""
        refuse_training_mode(backbone)
        with torch.cuda.device(features_MD.device) if features_MD.is_cuda else contextlib.nullcontext():
            return self._drawn(backbone, prompts, features_MD, asked)

    def _drawn(self, backbone: Backbone, prompts: PromptBatch, features_MD: Tensor, asked: Draw) -> Completions:
        """The same, with the device made the thread's own, which graphs are captured on."""
        on_gpu = features_MD.is_cuda
        graphs = self._captures(backbone)
        batch = _Batch(backbone, prompts, features_MD, asked)
        steps = _Steps(batch, graphs=graphs)
        every = self.look_every or (16 if on_gpu else 1)
        drop_share = self.drop_share or (0.5 if graphs else 0.25)
        length = asked.sampling.max_new_tokens
        for step in range(1, length):  # the first token was drawn after the prompts
            if step % every == 0 or step == 1:
                refuse_no_numbers(bool(batch.finite))
                if asked.hopeless is not None:
                    batch.give_up(asked.hopeless, step)
                if not (asked.anywhere or bool)(batch.running > 0):
                    break
                if batch.running <= len(batch.row_B) * (1 - drop_share):
                    batch.drop_finished()
                    steps.forget()
            steps.take(step)
        refuse_no_numbers(bool(batch.finite))
        if asked.hopeless is not None:
            batch.give_up(asked.hopeless, length - 1)  # those that the last look came too early for
        return batch.completions()

    def _captures(self, backbone: Backbone) -> bool:
        return self.cuda_graphs and backbone.device.type == "cuda" and not is_sharded(backbone)


class _Batch:
    """N completions, B of which are being decoded: what was drawn of all, and what it takes to go on with some."""

    def __init__(self, backbone: Backbone, prompts: PromptBatch, features_MD: Tensor, asked: Draw) -> None:
        device, length, size = features_MD.device, asked.sampling.max_new_tokens, asked.group_size
        total = len(prompts) * size
        self.backbone = backbone
        self.label_ids = [torch.tensor(spellings, device=device) for spellings in asked.label_ids]
        self.sampler = Sampler(backbone.vocabulary, asked.sampling.temperature)
        self.ends = torch.tensor(backbone.vocabulary.end_ids, device=device)
        drawn_NT = uniforms(asked.sampling.seed, asked.keys, size, length, first=asked.first)
        self.uniforms_NT = uniforms_on(device, drawn_NT)
        self.ids_NT = torch.full((total, length), backbone.vocabulary.pad_id, device=device)
        # named, since a model that another thread loads changes the default for a while
        self.labels_NTL = torch.zeros(total, length, len(asked.label_ids), device=device, dtype=torch.float32)
        self.ended_N = torch.zeros(total, dtype=torch.bool, device=device)
        self.cut_at_N = torch.full((total,), length, device=device)
        """Tokens after which a completion was ended from outside."""
        self.unsettled = torch.arange(total, device=device)
        """Completions that had not ended when they were last looked at, after ``looked_at`` tokens."""
        self.looked_at = 0
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.at_1 = torch.zeros(1, dtype=torch.long, device=device)
        """Which token is drawn next."""

        self.cache = GroupCache(prompts.mask_PS, size, length)
        logits_PV = backbone.prefill(prompts, features_MD, self.cache)
        self.row_B = torch.arange(total, device=device)
        self.positions_B = prompts.next_position_P.repeat_interleave(size)
        self.tokens_B = torch.zeros(total, dtype=torch.long, device=device)
        self._draw(logits_PV.repeat_interleave(size, 0))

    @property
    def running(self) -> int:
        """Completions that have not ended."""
        return int((~self.ended_N).sum())

    def step(self) -> None:
        """One more token of every completion; nothing here waits for the device or depends on what it holds."""
        self._draw(self.backbone.decode(self.tokens_B, self.positions_B, self.cache))
        self.positions_B += 1

    def _draw(self, logits_BV: Tensor) -> None:
        row_B = self.row_B
        self.finite &= logits_BV.isfinite().all()
        uniform_B = self.uniforms_NT[row_B].index_select(1, self.at_1).flatten()
        self.tokens_B.copy_(self.sampler(logits_BV, uniform_B))
        ended_B = self.ended_N[row_B]
        self.ids_NT[row_B, self.at_1] = torch.where(ended_B, self.ids_NT[row_B, self.at_1], self.tokens_B)
        for label, spellings in enumerate(self.label_ids):
            read_B = logits_BV[:, spellings].float().logsumexp(1)
            self.labels_NTL[row_B, self.at_1, label] = read_B.masked_fill(ended_B, 0)
        self.ended_N[row_B] = ended_B | (self.tokens_B[:, None] == self.ends).any(1)
        self.at_1 += 1

    def give_up(self, hopeless: Callable[[list[int]], bool], drawn: int) -> None:
        """End the completions that nothing can save any more, at the token that made them so."""
        ends = set(self.backbone.vocabulary.end_ids)
        rows = self.unsettled.tolist()
        for row, ids in zip(rows, self.ids_NT[self.unsettled, :drawn].tolist(), strict=True):
            own = next((place for place in range(self.looked_at, drawn) if ids[place] in ends), drawn)
            if own > self.looked_at and hopeless(ids[:own]):
                self.ended_N[row] = True
                self.cut_at_N[row] = _first_hopeless(hopeless, ids[:own], self.looked_at)
        self.looked_at = drawn
        self.unsettled = self.unsettled[~self.ended_N[self.unsettled]]

    def drop_finished(self) -> None:
        """Go on with those that have not ended; with one that has, where all have (other ranks go on)."""
        kept_b = (~self.ended_N[self.row_B]).nonzero().flatten()
        if not len(kept_b):
            kept_b = kept_b.new_zeros(1)
        self.row_B = self.row_B[kept_b]
        self.tokens_B, self.positions_B = self.tokens_B[kept_b], self.positions_B[kept_b]
        self.cache.select(kept_b)

    def completions(self) -> Completions:
        """What was drawn, cut to the longest."""
        return completions_of(self.ids_NT, self.labels_NTL, self.ended_N, self.cut_at_N, self.backbone.vocabulary)


def _first_hopeless(hopeless: Callable[[list[int]], bool], ids: list[int], after: int) -> int:
    """The fewest tokens, more than ``after``, with which a completion was hopeless that is so by now."""
    lengths = range(after + 1, len(ids) + 1)
    return lengths[bisect_left(lengths, x=True, key=lambda length: hopeless(ids[:length]))]


class _Steps:
    """Takes decoding steps: one by one, or replayed as CUDA graphs."""

    def __init__(self, batch: _Batch, *, graphs: bool) -> None:
        self.batch = batch
        self.graphs = graphs
        self._captured: dict[int, Callable[[], None]] = {}

    def forget(self) -> None:
        """The batch's tensors are others now."""
        self._captured.clear()

    def take(self, step: int) -> None:
        """The step that draws token number ``step``, and so puts number ``step - 1`` into the cache."""
        cache = self.batch.cache
        if not self.graphs:
            cache.look_at(step, exactly=True)
            self.batch.step()
            return
        sight = min(-(-step // _SIGHT_OF_GRAPHS) * _SIGHT_OF_GRAPHS, cache.room)
        if (replay := self._captured.get(sight)) is not None:
            replay()
            return
        cache.look_at(sight, exactly=False)
        try:
            self._captured[sight] = _captured(self.batch.step)
        except _CaptureError as error:
            warnings.warn(f"decoding cannot be captured as a CUDA graph, and goes on without: {error}", stacklevel=2)
            self.graphs = False


class _CaptureError(RuntimeError):
    """A step was taken, but cannot be recorded."""


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """Take one step as it is, which readies kernels and memory, and record another for later.

    Raises:
        _CaptureError: it cannot be recorded; it was taken all the same.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        raise _CaptureError(str(error)) from error
    return graph.replay
