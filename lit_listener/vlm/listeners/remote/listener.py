"""A listener that is asked over HTTP: a frozen model behind an OpenAI-compatible server.

It is asked what ``ModelListener`` asks a model of its own, so that the same weights give the same probabilities (to
what the server's number format leaves). It computes nothing here.
"""

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lit_listener.tasks import Question, Task
from lit_listener.vlm.listeners.failures import ListenerFailedError, end_together
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener, never
from lit_listener.vlm.listeners.remote.endpoint import Endpoint, Reply
from lit_listener.vlm.listeners.remote.patience import Asked, Patience, Send
from lit_listener.vlm.listeners.remote.probe import check_labels, check_models, probe, refuse
from lit_listener.vlm.listeners.remote.wire import Frame, Word, as_text, frame, read_word

_STARTING_S = 10.0  # that a server may be unreachable at a run's start: longer, and somebody waits for nothing
_MOST_UNHEARD = 0.5


class RemoteListener(Listener):
    """A model behind an OpenAI-compatible server, such as vLLM or ``python -m lit_listener serve --openai``.

    One token is asked for after each trace, with the log-probabilities of the 20 likeliest: all requests of a step at
    once, and none that was answered before. Probability that went to no label is counted as discarded; a trace after
    which the labels are not among the 20 is not heard, like one without an answer's place. A server that fails is asked
    again until patience ends; then the run stops, and can be gone on with.

    Args:
        base_url: address of the API with its version, such as http://127.0.0.1:8000/v1.
        model: the server's name of the model.
        context: ``own``: a listener's own question, with the trace told as somebody's explanation; ``reasoner``: the
            reasoner's question and completion up to the answer.
        continues: whether the server goes on with a reply that is begun (vLLM's continue_final_message). false: the
            trace is told at the question's end, and the label alone asked for; its probabilities are others then.
        api_key_env: environment variable that holds the key; null for none. The key itself is written nowhere.
        concurrency: most requests under way at once, at least 1; of a step's prompts x completions, what is more waits.
        timeout_s: seconds, above 0, that the server may stay silent before a request counts as failed.
        patience_s: seconds, at least 0, without any answer after which the run stops. With several processes keep it
            below the time-out of what they say to each other (600 s with NCCL).
        cached_answers: answers kept, so that the same trace about the same pair is asked about once; 0 keeps none.
        extra: further fields of every request that the server needs.
    """

    reads_reference = False

    def __init__(  # noqa: PLR0913, PLR0917  # one option each keeps a config flat
        self,
        base_url: str,
        model: str,
        context: Literal["own", "reasoner"] = "own",
        continues: bool = True,
        api_key_env: str | None = None,
        concurrency: int = 256,
        timeout_s: float = 120.0,
        patience_s: float = 300.0,
        cached_answers: int = 65_536,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value, fits, wanted in (
            ("context", context, context in ("own", "reasoner"), "own or reasoner"),
            ("concurrency", concurrency, concurrency >= 1, "at least 1 request"),
            ("timeout_s", timeout_s, 0 < timeout_s < float("inf"), "seconds above 0"),
            ("patience_s", patience_s, 0 <= patience_s < float("inf"), "seconds, at least 0"),
            ("cached_answers", cached_answers, cached_answers >= 0, "at least 0 answers"),
        ):
            if not fits:
                raise ValueError(f"model.listener.{name}: expected {wanted}, got {value!r}")
        Endpoint(base_url, None, timeout_s)  # is it an address?
        self.base_url = base_url
        self.name = model
        self.context = context
        self.continues = continues
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.patience_s = patience_s
        self.cached_answers = cached_answers
        self.extra = dict(extra or {})
        self._kept: OrderedDict[bytes, Word] = OrderedDict()
        self._metrics = _numbers(0, 0, float("nan"), 0, ())

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Find out whether the server is there, knows the model, and tells log-probabilities.

        Raises:
            ListenerFailedError: it is not so; on every rank.
            ValueError: the environment lacks the key, or labels begin with one another.
        """
        check_labels(task.labels)
        key = None if self.api_key_env is None else _key(self.api_key_env)
        self.task = task
        self._secret = key
        self._one_at_a_time = threading.Lock()  # a judge hears with several threads
        endpoint = Endpoint(self.base_url, key, self.timeout_s)
        self._patience = Patience(endpoint, self.concurrency, self.patience_s)
        end_together(self._failure_at_start(endpoint))

    def _failure_at_start(self, endpoint: Endpoint) -> ListenerFailedError | None:
        first = Patience(endpoint, 1, min(self.patience_s, _STARTING_S))
        listed = first.ask([partial(endpoint.get, "/models")], partial(check_models, self.name), never)
        if listed.failure is None:
            question = probe(self.task.labels)
            asked = frame(question, self.name, self.task.labels, continues=self.continues, extra=self.extra)
            send = partial(endpoint.post, "/chat/completions", asked.body(self.task.opening("")))
            heard = first.ask([send], self._read, never)
            if heard.answers and not sum(heard.answers[0].masses):
                warnings.warn(  # a small model that has learnt one question alone may be at a loss with another
                    f"the listener {self.name!r} at {self.base_url} names none of {list(self.task.labels)} when it is "
                    "asked to: if it does not go on with a reply that is begun, set model.listener.continues to false",
                    stacklevel=2,
                )
            listed = Asked(None, heard.failure, heard.stopped, heard.retries, heard.latency_s)
        return None if listed.failure is None else self._explained(listed.failure)

    def metrics(self) -> dict[str, float]:
        """What the last hearing took, on this process."""
        return dict(self._metrics)

    def hear(self, hearing: Hearing) -> Heard:
        """Ask about every trace that can be heard and was not asked about before.

        Raises:
            ListenerFailedError: the server refuses, stays dead, or does not know the labels; on every rank.
            StopRequested: the run was asked to stop while the server did not answer; on every rank.
        """
        with self._one_at_a_time:
            return self._hear(hearing)

    def _hear(self, hearing: Hearing) -> Heard:
        readable = hearing.readable_N.tolist()
        keys, sends = self._requests(hearing, [n for n, heard in enumerate(readable) if heard])
        asked = self._patience.ask(list(sends.values()), self._read, hearing.stop_asked)
        words: dict[bytes, Word] = {key: self._kept[key] for key in keys.values() if key in self._kept}
        words |= dict(zip(sends, asked.answers or (), strict=False))
        failure = asked.failure or (None if asked.stopped else _too_few_heard([words[key] for key in keys.values()]))
        end_together(failure and self._explained(failure), stopped=asked.stopped)
        self._keep(words)
        heard = [words[keys[n]] if n in keys else None for n in range(len(readable))]
        self._take_note(asked, len(keys), [word for word in heard if word is not None])
        return _heard(heard, len(self.task.labels))

    def _requests(self, hearing: Hearing, places: Sequence[int]) -> tuple[dict[int, bytes], dict[bytes, Send]]:
        """Each trace's key by its place; and what sends the distinct ones that no answer is kept of."""
        ask = self.task.encode if self.context == "reasoner" else self.task.retell_question
        groups = sorted({n // hearing.group_size for n in places})
        framed = self._patience.mapped(self._frame, [ask(hearing.shown[p]) for p in groups])
        frames = dict(zip(groups, framed, strict=True))
        keys: dict[int, bytes] = {}
        sends: dict[bytes, Send] = {}
        for n in places:
            frame_, trace = frames[n // hearing.group_size], self._trace(hearing, n)
            keys[n] = key = frame_.key(trace)
            if key not in self._kept and key not in sends:
                sends[key] = partial(self._post, frame_, trace)
        return keys, sends

    def _frame(self, question: Question) -> Frame:
        return frame(question, self.name, self.task.labels, continues=self.continues, extra=self.extra)

    def _trace(self, hearing: Hearing, n: int) -> str:
        if self.context == "own":
            return self.task.retell_continuation(hearing.transcripts[n].think or "")
        return as_text(hearing.trace_bytes[n])

    def _post(self, frame_: Frame, trace: str) -> Reply:
        return self._patience.endpoint.post("/chat/completions", frame_.body(trace))

    def _read(self, reply: Reply) -> Word:
        if reply.status != 200:
            raise refuse(reply)
        return read_word(reply.content, self.task.labels)

    def _keep(self, words: dict[bytes, Word]) -> None:
        for key, word in words.items():
            self._kept[key] = word
            self._kept.move_to_end(key)
        while len(self._kept) > self.cached_answers:
            self._kept.popitem(last=False)

    def _take_note(self, asked: Asked[Word], traces: int, words: Sequence[Word]) -> None:
        self._metrics = _numbers(len(asked.answers or ()), asked.retries, asked.latency_s, traces, words)

    def _explained(self, failure: ListenerFailedError) -> ListenerFailedError:
        """Whose failure it is; nobody's key is told, should a server repeat it."""
        told = f"the listener {self.name!r} at {self.base_url}: {failure}"
        return ListenerFailedError(told.replace(self._secret, "…") if self._secret else told)


def _numbers(sent: int, retries: int, latency_s: float, traces: int, words: Sequence[Word]) -> dict[str, float]:
    """What a hearing took; shares are NaN where there was nothing to hear."""
    nothing = float("nan")
    return {
        "remote/requests": float(sent),
        "remote/retries": float(retries),
        "remote/latency_s": latency_s,
        "remote/cached_share": 1 - sent / traces if traces else nothing,
        "remote/unheard_share": sum(not word.heard for word in words) / traces if traces else nothing,
    }


def _heard(words: Sequence[Word | None], labels: int) -> Heard:
    """The labels' probabilities of N traces, renormalised; None where there was no answer's place."""
    nothing = Word((0.0,) * labels, 1.0)
    masses_NL = torch.tensor([(word or nothing).masses for word in words], dtype=torch.float64)
    readable_N = torch.tensor([word is not None and word.heard for word in words])
    total_N1 = masses_NL.sum(1, keepdim=True)
    level_NL = torch.full_like(masses_NL, 1 / labels)
    p_label_NL: Tensor = torch.where(total_N1 > 0, masses_NL / total_N1.clamp(min=1e-300), level_NL)
    return Heard(p_label_NL.float(), readable_N, (1 - total_N1.squeeze(1)).clamp(0, 1).float())


def _too_few_heard(words: Sequence[Word]) -> ListenerFailedError | None:
    """A model that names a label after few traces is asked in a way that it does not understand."""
    unheard = sum(not word.heard for word in words)
    if unheard <= _MOST_UNHEARD * len(words):
        return None
    return ListenerFailedError(
        f"the labels are not among the 20 likeliest tokens after {unheard} of {len(words)} traces: does the server go "
        "on with the reply that is begun (model.listener.continues), and does its chat template leave it as it is?"
    )


def _key(name: str) -> str:
    key = os.environ.get(name, "").strip()
    if not (key and key.isascii() and key.isprintable()):
        raise ValueError(
            f"model.listener.api_key_env: expected the environment variable {name} to hold a key of printable ASCII "
            "characters, got none; export it, or drop the option"
        )
    return key
