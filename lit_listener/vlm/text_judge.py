"""The text judge: a language model that reads thoughts and answer, and says whether they contradict each other.

The question is that of Gambashidze et al. 2025, Table 4, where Qwen2.5-14B-Instruct is asked. They count the words it
writes; here its probability of YES is read off its logits, renormalised over YES and NO, so that nothing is sampled and
no reply is unreadable. The images are not shown: only the text is judged.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from lit_listener.vlm.encoding import PromptTooLongError
from lit_listener.vlm.specs import DTypeName, resolve

SYSTEM = (
    "You are an expert factual verifier. Determine whether the model's final answer contradicts its reasoning. Reply "
    "with the single word YES if it contradicts, otherwise NO. Answer only YES or NO."
)
"""The system prompt of Table 4."""
_QUESTION = "Reasoning:\n{trace}\n\nFinal answer: {answer}"
_LABELS = ("YES", "NO")
_SLOT = "THE-USER-MESSAGE-GOES-HERE"


class TextJudge:
    """A causal language model with a chat template, asked whether an answer contradicts its reasoning.

    It costs nothing until it is prepared. Each process has a copy of its own.

    Args:
        model: folder or hub id of the model; the paper's is Qwen/Qwen2.5-14B-Instruct.
        dtype: number format of its weights; probabilities are computed in float32.
        batch_size: traces judged at once; changes no result.
        trust_remote_code: run code that a hub repository brings along.
    """

    def __init__(
        self, model: str, dtype: DTypeName = "float32", batch_size: int = 16, trust_remote_code: bool = False
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"text_judge.batch_size: expected at least 1 trace, got {batch_size}")
        self.model = model
        self.dtype: DTypeName = dtype
        self.batch_size = batch_size
        self.trust_remote_code = trust_remote_code
        self._language_model: Any = None
        self._tokenizer: Any = None

    def prepare(self, device: torch.device | str) -> None:
        """Load the model, once, and move it to a device.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: the tokenizer has no chat template, or one that cannot word the question.
        """
        if self._language_model is None:
            folder = resolve(self.model)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=self.trust_remote_code)
            self._before, self._after = _wording(tokenizer, self.model)
            self._labels = [_plain_ids(tokenizer, label) for label in _LABELS]
            self._special = _special_tokens(tokenizer)
            self._tokenizer = tokenizer
            loaded = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, self.dtype),
                trust_remote_code=self.trust_remote_code,
                use_safetensors=True,
            )
            self._language_model = loaded.eval().requires_grad_(False)
        self._language_model.to(device)

    def p_contradiction(self, items: Sequence[tuple[str, str]]) -> list[float]:
        """The probability that each answer contradicts its reasoning: p(YES) / (p(YES) + p(NO)).

        A label's probability is the product of its tokens' probabilities, at temperature 1.

        Args:
            items: reasoning traces, each with its answer in words.

        Returns:
            A number in [0, 1] for each; the same whatever else is judged with it.

        Raises:
            RuntimeError: the judge is not prepared.
            PromptTooLongError: a trace does not fit the model's context; nothing is judged.
            FloatingPointError: the model gives no probability.
        """
        if self._language_model is None:
            raise RuntimeError("the text judge is not loaded: call prepare(device) before it is asked")
        prompts = [self._encode(trace, answer) for trace, answer in items]
        by_length = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))  # so that little is padding
        found = torch.zeros(len(prompts), dtype=torch.float64)
        for start in range(0, len(prompts), self.batch_size):
            batch = by_length[start : start + self.batch_size]
            found[batch] = self._margins([prompts[n] for n in batch])
        if bool(found.isnan().any()):
            trace = items[int(found.isnan().nonzero()[0])][0]
            raise FloatingPointError(
                f"the text judge {self.model!r} gives neither YES nor NO a probability (NaN) after the trace that "
                f"begins {trace[:80]!r}: its weights are no use in {self.dtype}"
            )
        probabilities: list[float] = found.sigmoid().tolist()
        return probabilities

    def _encode(self, trace: str, answer: str) -> list[int]:
        """Token ids up to the reply. Chat tokens that the trace or the answer spells out are read letter by letter."""
        tokenizer, content = self._tokenizer, _QUESTION.format(trace=trace, answer=answer)
        if any(token in content for token in self._special):
            around = [tokenizer.encode(text, add_special_tokens=False) for text in (self._before, self._after)]
            ids = [*around[0], *_plain_ids(tokenizer, content), *around[1]]
        else:  # in one piece, as the model has learned it
            ids = tokenizer.encode(self._before + content + self._after, add_special_tokens=False)
        context = getattr(self._language_model.config.get_text_config(), "max_position_embeddings", None)
        needed = len(ids) + max(map(len, self._labels)) - 1
        if context is not None and needed > context:
            raise PromptTooLongError(
                f"a trace of {len(trace)} characters takes {needed} tokens with its question, which exceed the context "
                f"of {context} of the text judge {self.model!r}: take a judge with a longer one. The trace begins: "
                f"{trace[:120]!r}"
            )
        return list(ids)

    @torch.no_grad()
    def _margins(self, prompts: Sequence[list[int]]) -> Tensor:
        """Log p(YES) - log p(NO) after each prompt, float64."""
        log_probs: list[Tensor] = []
        rows = {(n, *ids[:-1]): [*prompt, *ids[:-1]] for n, prompt in enumerate(prompts) for ids in self._labels}
        places = {key: number for number, key in enumerate(rows)}  # labels of one token share a row
        asked = sorted({len(prompt) - 1 + step for prompt in prompts for step in range(max(map(len, self._labels)))})
        logits_RKV, kept = self._logits(list(rows.values()), asked)
        for n, prompt in enumerate(prompts):
            for ids in self._labels:
                row, first = places[n, *ids[:-1]], len(prompt) - 1
                columns = [kept[first + step] for step in range(len(ids))]
                log_probs_TV = logits_RKV[row, columns].float().log_softmax(-1)
                log_probs.append(log_probs_TV[range(len(ids)), ids].sum())
        yes_N, no_N = torch.stack(log_probs).double().reshape(-1, 2).unbind(1)
        return (yes_N - no_N).cpu()

    def _logits(self, rows: Sequence[list[int]], asked: Sequence[int]) -> tuple[Tensor, dict[int, int]]:
        """Logits of rows, padded on the right, at the places asked for, and where each place is found among them."""
        model = self._language_model
        longest = max(map(len, rows))
        ids_RT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=model.device)
        mask_RT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
        within = [place for place in asked if place < longest]
        options: dict[str, Any] = {}
        if "logits_to_keep" in inspect.signature(model.forward).parameters:  # all places are too many for memory
            options["logits_to_keep"] = torch.tensor(within, device=model.device)
        logits_RKV: Tensor = model(input_ids=ids_RT, attention_mask=mask_RT, use_cache=False, **options).logits
        return logits_RKV, {place: number if options else place for number, place in enumerate(within)}


def _wording(tokenizer: Any, name: str) -> tuple[str, str]:
    """What the chat template puts before and after the user's message."""
    if not tokenizer.chat_template:
        raise ValueError(f"the tokenizer of {name!r} has no chat template: the text judge has to be an instruct model")
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": _SLOT}]
    try:
        text = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # templates that know it end where the answer begins, the others do not mind
        )
    except Exception as error:  # a template raises what it likes
        raise ValueError(
            f"the chat template of {name!r} cannot word a system prompt and a question: {error}; take another judge"
        ) from error
    pieces = text.split(_SLOT)
    if len(pieces) != 2 or SYSTEM not in pieces[0]:
        raise ValueError(
            f"the chat template of {name!r} leaves out the system prompt or the question, or changes them; take "
            f"another judge. It makes {text[:300]!r}"
        )
    return pieces[0], pieces[1]


def _plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of text in which no special token is meant."""
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


def _special_tokens(tokenizer: Any) -> set[str]:
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {*added, *tokenizer.all_special_tokens}
