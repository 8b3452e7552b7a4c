"""The judge: a trained reasoner that compares, ranks and scores images for a prompt.

Every number comes with the traces it was made of. Scores do not depend on what else is judged with them: each trace
draws from random numbers of its own, keyed by the seed, the prompt and the displayed images.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lit_listener.data.records import Side
from lit_listener.judging.anchors import Anchor
from lit_listener.judging.answering import Answering
from lit_listener.judging.hearing_sentences import heat_of_trace
from lit_listener.judging.heat import Heat
from lit_listener.judging.loading import Wanted, load_judge
from lit_listener.judging.many import parts, with_progress
from lit_listener.judging.pictures import ImageLike, picture
from lit_listener.judging.requests import CompareRequest, RankRequest
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.rewards import RewardFunction, reward_function
from lit_listener.judging.scores import Scores
from lit_listener.judging.traces import Trace
from lit_listener.tasks import Task


class Judge(Answering, Scores):
    """A reasoner that says which images people would prefer. ``Judge.load`` makes one.

    One judge may be used from several threads. Its model is loaded once.

    Args:
        loaded: its model.
        name: what it is called.
        batch_size: completions that are sampled at once; changes no result. Halved where a GPU runs out of memory.
            None: 32, and 128 of a model with less than a hundred million parameters.

    Raises:
        ValueError: the batch size is below 1.
    """

    @classmethod
    def load(  # noqa: PLR0913  # one option each
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        adapter: str | Path | None = None,
        load_in_4bit: bool = False,
        task: Task | None = None,
        listener: str | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        max_pixels: int | None = None,
        batch_size: int | None = None,
        trust_remote_code: bool = False,
    ) -> "Judge":
        """Load a judge.

        Args:
            model: ``shapes`` (the bundled judge), a Hugging Face folder or hub id, an exported folder (full weights or
                an adapter), a checkpoint, or the folder of a training run.
            device: auto (CUDA, else MPS, else CPU), or a device or its name, such as cuda:1.
            dtype: number format of the weights: auto (bfloat16 on a GPU, float32 on a CPU), float32, bfloat16, float16.
            adapter: folder or hub id of a LoRA adapter on ``model``.
            load_in_4bit: read the language model's linear layers into 4 bits (NF4).
            task: how the question is worded and answers are read; by default as the model was trained, and else
                ``PairwisePreference()``.
            listener: a model that listens where that is asked for; by default the one that listened in training.
            max_new_tokens: longest trace; by default as in training, and else 512.
            temperature: of sampling, above 0; by default as in training, and else 1.
            max_pixels: images of more pixels are scaled down to so many.
            batch_size: completions sampled at once; changes no result. By default 32, and 128 of a model with less
                than a hundred million parameters.
            trust_remote_code: run code that a hub repository brings along.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: it is no model that can judge, or options contradict each other.
        """
        wanted = Wanted(
            model=str(model),
            device=str(device),
            dtype=str(dtype).removeprefix("torch."),
            adapter=None if adapter is None else str(adapter),
            load_in_4bit=load_in_4bit,
            task=task,
            listener=listener,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            max_pixels=max_pixels,
            trust_remote_code=trust_remote_code,
        )
        return cls(load_judge(wanted), str(model), batch_size)

    def __repr__(self) -> str:
        thinker = self._thinker
        return f"Judge({self.name!r}, device={str(thinker.policy.device)!r}, batch_size={self.batch_size})"

    # ---- judging -------------------------------------------------------------------------------------------------

    def compare(
        self,
        prompt: str,
        image_a: ImageLike,
        image_b: ImageLike,
        *,
        rollouts: int = 1,
        both_orders: bool = True,
        seed: int = 0,
        listen: bool = False,
    ) -> Comparison:
        """Which of two images would people prefer for a prompt?

        With both orders ``compare(a, b).p_a + compare(b, a).p_a == 1``: p_a = ½[(1 − p(1|a, b)) + p(1|b, a)], where
        p(1|·) is the probability of the image displayed second (Eq. 4 of Gambashidze et al. 2025). A judge that rates
        images rates each by itself, and p_a = ½ + ½(s_a − s_b) of their expected ratings in [0, 1] (Eq. 3).

        Args:
            prompt: what the images were made from.
            image_a: a PIL image, a path, ``numpy`` HWC uint8 or ``torch`` CHW float in [0, 1].
            image_b: the other one.
            rollouts: k, traces in each display order; their probabilities are averaged.
            both_orders: show the images in both orders.
            seed: seed of the traces.
            listen: let the listener hear the traces too.

        Raises:
            FileNotFoundError: an image file is not there.
            ValueError: an image, the prompt or an option cannot be used.
        """
        return self._one(CompareRequest(prompt, image_a, image_b, rollouts, both_orders, seed, listen))

    def rank(
        self,
        prompt: str,
        images: Iterable[ImageLike],
        *,
        rollouts: int = 1,
        anchor: Anchor = None,
        both_orders: bool = True,
        seed: int = 0,
        listen: bool = False,
    ) -> Ranking:
        """Rank images for a prompt: one is the anchor, and every other is compared with it once, O(n).

        Scores compare only within one ranking, or among rankings against one anchor that is given. A judge that rates
        images asks about each once, one alone will do, and its scores (expected ratings in [0, 1]) always compare. A
        judge whose task shows lists (``Listwise``) looks at all images at once, in the order given and reversed, and
        its scores are probabilities of being the best, of sum 1, that compare within the ranking alone; with an anchor
        it compares in pairs.

        Args:
            prompt: what the images were made from.
            images: see ``compare``.
            rollouts: k, traces in each display order.
            anchor: place of the anchor among the images; or an image that all are compared with; or a callable from
                prompt to such an image; None: one of the images, chosen by the seed. A judge that rates images takes
                none, and one that looks at all images at once has none unless it is given here.
            both_orders: show each pair or list in both orders; the papers' protocol is one order. Of no effect on
                ratings.
            seed: seed of the traces, and of the choice of the anchor.
            listen: let the listener hear the traces too.

        Raises:
            FileNotFoundError: an image file is not there.
            IndexError: the anchor's place is none of the images'.
            ValueError: no images, one image without an anchor, an anchor for a judge that rates images, more images
                than can be looked at at once, or an image, prompt or option that cannot be used.
        """
        return self._one(RankRequest(prompt, images, rollouts, anchor, both_orders, seed, listen))

    def heat(
        self,
        prompt: str,
        image_a: ImageLike,
        image_b: ImageLike,
        trace: Trace | str,
        *,
        of: Side = "a",
        leave_one_out: bool = False,
    ) -> Heat:
        """Tell which sentence of a trace moves the listener, and how far (see ``judging.heat``).

        Args:
            prompt: what the images were made from.
            image_a: see ``compare``.
            image_b: the other one.
            trace: one of a comparison of these images, or thoughts that somebody wrote about them with A as the first.
            of: the image whose probability is told.
            leave_one_out: tell also what would be missed without each sentence, which doubles the cost.

        Raises:
            FileNotFoundError: an image file is not there.
            TypeError: the trace is neither a trace nor a text.
            ValueError: an image or the prompt cannot be used, no listener is known, or the judge rates single images.
        """
        if of not in ("a", "b"):
            raise ValueError(f'of: expected the image that is meant, "a" or "b", got {of!r}')
        if not isinstance(trace, Trace | str):
            raise TypeError(
                f"trace: expected one trace or a text, got {type(trace).__name__}; a comparison's are in its traces: "
                "comparison.traces[0]"
            )
        asking = CompareRequest(prompt, image_a, image_b, listen=True).asking()
        first = trace.first if isinstance(trace, Trace) else "a"
        look = self._form.look(asking, picture(image_a, "image_a"), picture(image_b, "image_b"), first)
        return self.computed(partial(heat_of_trace, self._heard(), look, trace, of=of, leave_one_out=leave_one_out))

    def _scored(self, prompt: str, images: Iterable[ImageLike], **options: Any) -> Ranking:
        return self.rank(prompt, images, **options)

    def compare_many(
        self,
        pairs: Iterable[tuple[str, ImageLike, ImageLike]],
        *,
        progress: bool = True,
        **options: Any,
    ) -> list[Comparison]:
        """Compare many pairs, batched across prompts; the same results as one by one.

        Args:
            pairs: (prompt, image A, image B) each; files are opened when their turn comes.
            progress: show a progress bar.
            options: those of ``compare``.

        Raises:
            ValueError: a pair cannot be judged; the message tells which. To keep what was judged before it, or before
                Ctrl-C, take results one by one from ``answers``.
        """
        requests = [CompareRequest(*parts(pair, "(prompt, image A, image B)", 3), **options) for pair in pairs]
        return with_progress(self.answers(requests), len(requests), "comparing", shown=progress)

    def rank_many(
        self, lists: Iterable[tuple[str, Sequence[ImageLike]]], *, progress: bool = True, **options: Any
    ) -> list[Ranking]:
        """Rank many lists of images, batched across prompts; the same results as one by one.

        Args:
            lists: (prompt, images) each.
            progress: show a progress bar.
            options: those of ``rank``.
        """
        requests = [RankRequest(*parts(each, "(prompt, images)", 2), **options) for each in lists]
        return with_progress(self.answers(requests), len(requests), "ranking", shown=progress)

    def reward_fn(self, anchor: Anchor = None, **options: Any) -> RewardFunction:
        """A reward function in the shape that flow_grpo calls (see ``rewards.reward_function``).

        Args:
            anchor: see ``rank``. None: the images of one prompt in a batch are ranked together, and rewards compare
                within it alone; an image, or a callable from prompt to image: they agree between processes too.
            options: those of ``rank``.
        """
        return reward_function(self.rank_many, anchor, options, lambda: self.rates_images)
