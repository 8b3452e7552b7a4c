"""Chats as the model has them: what is asked, what is answered, and the passes between.

Chats that ask for the likeliest next token alone share one packed pass a question: its text and images are read once
for all replies that were begun (``vlm.packing``), as ``ModelListener`` does. Others are drawn from streams of random
numbers of their own, so that the same chat with the same seed has the same answer, whatever shares its batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from lit_listener.tasks import Question
from lit_listener.vlm.backbone import Likeliest
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.packing import pack
from lit_listener.vlm.rollout import Sampling
from lit_listener.vlm.rollout.engine import Draw
from lit_listener.vlm.thinker import Thinker

_COLD = 1e-6
"""Stands in for a temperature of 0, by which logits cannot be divided: only exact ties are drawn."""
_FEW_TOP = 32  # read at least: of the 20 likeliest some may be tokens that are never drawn
_PADDING = 2
"""A pass is cut where its largest group has more than so many times the completions of another."""


@dataclass(frozen=True, eq=False)
class Chat:
    """One request."""

    question: Question
    """The messages up to the reply, and their images."""
    question_key: bytes
    """What messages and images are known by."""
    begun: str
    """The reply's beginning."""
    max_tokens: int | None
    """None: as long as the judge's own completions."""
    temperature: float
    seed: int
    top: int | None
    """Likeliest tokens to tell of at each place; None tells no log-probabilities at all."""

    @property
    def asks_one_token(self) -> bool:
        """Whether the likeliest next token is all that is asked for."""
        return self.max_tokens == 1 and self.temperature == 0

    @cached_property
    def digest(self) -> str:
        """What question and beginning are known by: the key of the stream that the answer is drawn from."""
        return hashlib.sha256(self.question_key + self.begun.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class ToldToken:
    """A token and its log-probability: of the unscaled distribution, nothing suppressed."""

    spelling: bytes
    log_prob: float
    top: tuple["ToldToken", ...] = ()
    """The likeliest tokens at its place."""


@dataclass(frozen=True)
class ChatAnswer:
    """What the model goes on with."""

    text: str
    ended: bool
    """Whether the model ended by itself, and not by the number of tokens."""
    prompt_tokens: int
    completion_tokens: int
    """End token included."""
    tokens: tuple[ToldToken, ...] | None
    """All of them, end token included, if log-probabilities were asked for."""


@torch.no_grad()
def answer_chats(thinker: Thinker, chats: Sequence[Chat]) -> list[ChatAnswer]:
    """Answer N chats.

    Raises:
        FloatingPointError: logits are NaN or infinite.
        PromptTooLongError: a chat does not fit the model's context; none was answered.
    """
    thinker.policy.eval()
    found: dict[int, ChatAnswer] = {}
    one_token = [n for n, chat in enumerate(chats) if chat.asks_one_token]
    for places in _passes(chats, one_token):
        found |= dict(zip(places, _next_tokens(thinker, [chats[n] for n in places]), strict=True))
    drawn: dict[tuple[float, int], list[int]] = {}
    for n, chat in enumerate(chats):
        if not chat.asks_one_token:
            drawn.setdefault((chat.temperature, chat.seed), []).append(n)
    for places in drawn.values():
        found |= dict(zip(places, _drawn(thinker, [chats[n] for n in places]), strict=True))
    return [found[n] for n in range(len(chats))]


def _passes(chats: Sequence[Chat], places: Sequence[int]) -> list[list[int]]:
    """One-token chats for each pass, those about one question side by side; groups of about one size together."""
    groups: dict[bytes, list[int]] = {}
    for n in places:
        groups.setdefault(chats[n].question_key, []).append(n)
    passes: list[list[list[int]]] = []
    for group in sorted(groups.values(), key=len, reverse=True):
        if not passes or len(passes[-1][0]) > _PADDING * len(group):
            passes.append([])
        passes[-1].append(group)
    return [[n for group in each for n in group] for each in passes]


def _next_tokens(thinker: Thinker, chats: Sequence[Chat]) -> list[ChatAnswer]:
    """The likeliest next token of chats, those about one question side by side."""
    groups: dict[bytes, list[Chat]] = {}
    for chat in chats:
        groups.setdefault(chat.question_key, []).append(chat)
    size, pad = max(map(len, groups.values())), thinker.policy.vocabulary.pad_id
    encoder, device = thinker.reader.encoder, thinker.policy.device
    begun = [[encoder.encode_text(chat.begun, special=False) for chat in group] for group in groups.values()]
    # the token after the beginning is never read, only what is predicted there; empty rows fill groups up
    rows = [[*ids, pad] for group in begun for ids in [*group, *[[]] * (size - len(group))]]
    questions = [group[0].question for group in groups.values()]
    encoded = encoder.encode(questions, room=max(map(len, rows)))
    prompts = encoded.to(device)
    completions = Completions.from_ids(rows, pad).to(device)
    real = [place * size + n for place, group in enumerate(begun) for n in range(len(group))]
    found = thinker.policy.likeliest(
        pack(prompts, completions),
        thinker.image_cache.features(thinker.policy, prompts, encoded.pixel_values_RC),
        rows_R=torch.tensor(real, device=device),
        places_R=torch.tensor([len(rows[row]) - 1 for row in real], device=device),
        count=_FEW_TOP,
    )
    lengths = prompts.lengths_P.tolist()
    flat = [chat for group in groups.values() for chat in group]
    return [
        _one_token(thinker, chat, found, n, lengths[row // size] + len(rows[row]) - 1)
        for n, (chat, row) in enumerate(zip(flat, real, strict=True))
    ]


def _one_token(thinker: Thinker, chat: Chat, found: Likeliest, n: int, prompt_tokens: int) -> ChatAnswer:
    vocabulary = thinker.policy.vocabulary
    never = set(vocabulary.suppressed_ids.tolist())
    ids, log_probs = found.ids_RK[n].tolist(), found.log_probs_RK[n].tolist()
    chosen = next(place for place, token in enumerate(ids) if token not in never)
    ended = ids[chosen] in vocabulary.end_ids
    spelled = thinker.reader.token_bytes([ids[chosen]])[0]
    tokens = None
    if chat.top is not None:
        tokens = (ToldToken(spelled, log_probs[chosen], _top(thinker, ids, log_probs, chat.top)),)
    text = "" if ended else spelled.decode(errors="replace")
    return ChatAnswer(text, ended, prompt_tokens, 1, tokens)


def _drawn(thinker: Thinker, chats: Sequence[Chat]) -> list[ChatAnswer]:
    """Completions of chats that share temperature and seed; each is cut to its own length."""
    longest = [chat.max_tokens or thinker.sampling.max_new_tokens for chat in chats]
    encoder, policy = thinker.reader.encoder, thinker.policy
    begun = [encoder.encode_text(chat.begun, special=False) for chat in chats]
    encoded = encoder.encode([chat.question for chat in chats], room=max(longest), begun=begun)
    prompts = encoded.to(policy.device)
    features_MD = thinker.image_cache.features(policy, prompts, encoded.pixel_values_RC)
    wanted = Draw(
        group_size=1,
        sampling=Sampling(max(longest), chats[0].temperature or _COLD, chats[0].seed),
        keys=[("chat", chat.digest) for chat in chats],
    )
    completions = thinker.engine.draw(policy, prompts, features_MD, wanted)
    ids = [
        row[:length][:most]
        for row, length, most in zip(completions.ids_NT.tolist(), completions.lengths_N.tolist(), longest, strict=True)
    ]
    told: list[tuple[ToldToken, ...] | None] = [None] * len(chats)
    if any(chat.top is not None for chat in chats):
        told = list(_told(thinker, prompts, features_MD, chats, ids))
    ends = set(policy.vocabulary.end_ids)
    return [
        ChatAnswer(
            text=b"".join(thinker.reader.token_bytes([token for token in row if token not in ends])).decode(
                errors="replace"
            ),
            ended=row[-1] in ends,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(row),
            tokens=tokens,
        )
        for row, prompt_tokens, tokens in zip(ids, prompts.lengths_P.tolist(), told, strict=True)
    ]


def _told(
    thinker: Thinker,
    prompts: PromptBatch,
    features_MD: torch.Tensor,
    chats: Sequence[Chat],
    ids: Sequence[list[int]],
) -> list[tuple[ToldToken, ...] | None]:
    """The log-probabilities of drawn tokens, from one more pass, for those chats that want them."""
    device = thinker.policy.device
    wanted = [(n, place) for n, row in enumerate(ids) if chats[n].top is not None for place in range(len(row))]
    rows_R, places_R = torch.tensor(wanted, device=device).unbind(1)
    completions = Completions.from_ids([list(row) for row in ids], thinker.policy.vocabulary.pad_id).to(device)
    found = thinker.policy.likeliest(
        pack(prompts, completions), features_MD, rows_R=rows_R, places_R=places_R, count=_FEW_TOP
    )
    tokens: list[list[ToldToken]] = [[] for _ in chats]
    own = found.own_log_probs_R.tolist()
    for at, (n, place) in enumerate(wanted):
        top = _top(thinker, found.ids_RK[at].tolist(), found.log_probs_RK[at].tolist(), chats[n].top or 0)
        tokens[n].append(ToldToken(thinker.reader.token_bytes([ids[n][place]])[0], own[at], top))
    return [None if chat.top is None else tuple(each) for chat, each in zip(chats, tokens, strict=True)]


def _top(thinker: Thinker, ids: Sequence[int], log_probs: Sequence[float], count: int) -> tuple[ToldToken, ...]:
    spelled = [thinker.reader.token_bytes([token])[0] for token in ids[:count]]
    return tuple(ToldToken(*each) for each in zip(spelled, log_probs, strict=False))
