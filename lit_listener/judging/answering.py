"""A loaded model that answers requests: batches across them, one turn at a time for the model, a listener on demand."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from lit_listener.judging.batches import Batches, usual_size
from lit_listener.judging.forms import form_of
from lit_listener.judging.listening import Ear
from lit_listener.judging.loading import Loaded
from lit_listener.judging.many import answered
from lit_listener.judging.plans import Plan
from lit_listener.judging.requests import Request
from lit_listener.judging.thoughts import Showing, Thought, think
from lit_listener.vlm.thinker import Thinker

Result = TypeVar("Result")
Done = TypeVar("Done")


class Answering:
    """Answers requests with one model; it may be used from several threads.

    Args:
        loaded: its model.
        name: what it is called.
        batch_size: completions that are sampled at once; changes no result. Halved where a GPU runs out of memory.
            None: 32, and 128 of a model with less than a hundred million parameters.

    Raises:
        ValueError: the batch size is below 1.
    """

    def __init__(self, loaded: Loaded, name: str, batch_size: int | None = None) -> None:
        self.name = name
        self._thinker = loaded.thinker
        self._form = form_of(loaded.thinker.task)
        self._make_ear = loaded.make_ear
        self._ear: Ear | None = None
        self._ear_is_made = threading.Lock()
        parameters = sum(parameter.numel() for parameter in loaded.thinker.policy.parameters())
        size = usual_size(parameters) if batch_size is None else batch_size
        self._batches = Batches(self._think, size, at_once=loaded.at_once)

    @property
    def batch_size(self) -> int:
        """Completions that are sampled at once."""
        return self._batches.size

    @property
    def can_listen(self) -> bool:
        """Whether a listener is known, so that ``listen`` may be asked for."""
        return self._make_ear is not None

    @property
    def rates_images(self) -> bool:
        """Whether each image is rated by itself, so that one alone has a score, and no anchor is needed."""
        return self._form.scores_alone

    def preload_listener(self) -> None:
        """Load the listener now, if one is known, so that the first request for it does not wait."""
        if self.can_listen:
            self._heard()

    def plan(self, request: Request[Result]) -> Plan[Result]:
        """What a request comes down to for this judge, its images read and all of it checked.

        Raises:
            FileNotFoundError: an image file is not there.
            TypeError: an image is of an unknown kind.
            ValueError: the request cannot be answered.
        """
        return request.plan(self._form)

    def check(self, plan: Plan[Any]) -> None:
        """Word the questions of a plan, without asking the model, to know early whether it can be asked.

        Raises:
            ValueError: a prompt cannot be worded as a question.
        """
        for showing in plan.showings:
            self._thinker.task.encode(showing.shown)

    def answers(self, requests: Iterable[Request[Result]]) -> Iterator[Result]:
        """Answer requests in their order, in batches that go across them.

        Args:
            requests: ``CompareRequest`` and ``RankRequest``, mixed as you like.

        Yields:
            the result of each; so that what has been judged can be kept while the rest is on its way.

        Raises:
            FileNotFoundError: an image file is not there.
            ValueError: a request cannot be answered; the message tells which, counted from 0.
        """
        return answered(requests, self._planned, self.thoughts)

    def thoughts(self, showings: Iterable[Showing]) -> Iterator[list[list[Thought]]]:
        """Think about what is displayed, as plans have it.

        Yields:
            the thoughts about some of them, in their order, batch by batch.
        """
        return self._batches.thoughts(showings)

    @property
    def batches_at_once(self) -> int:
        """Batches that are computed at the same time."""
        return self._batches.at_once

    def computed(self, work: Callable[[Thinker], Done]) -> Done:
        """Have something else computed with the judge's model, in turn with its batches.

        Raises:
            Exception: what the work raised.
        """
        return self._batches.in_turn(partial(work, self._thinker))

    def _one(self, request: Request[Result]) -> Result:
        plan = self.plan(request)
        return plan.conclude([each for thoughts in self.thoughts(plan.showings) for each in thoughts])

    def _planned(self, request: Request[Result]) -> Plan[Result]:
        plan = self.plan(request)
        self.check(plan)
        return plan

    def _think(self, showings: Sequence[Showing], rollouts: int, listen: bool) -> list[list[Thought]]:
        return think(self._thinker, showings, rollouts, self._heard() if listen else None)

    def _heard(self) -> Ear:
        """The listener, loaded when it is first asked for."""
        if self._make_ear is None:
            raise ValueError(
                f"listen: no listener is known of {self.name}; name one: Judge.load(..., listener=...), for instance "
                "the model that it was trained from"
            )
        with self._ear_is_made:
            if self._ear is None:
                self._ear = self._make_ear()
        return self._ear
