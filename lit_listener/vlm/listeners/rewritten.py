"""A hearing of other thoughts about the same questions: what is left of the originals, or what they would be."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lit_listener.tasks import Outcome, Task
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners.listener import Hearing, Rescore


class Rewriter:
    """Puts other thoughts in place of those that were heard.

    Args:
        task: words the completions that hold them.
        tokenizer: the reasoner's; needed where no reference reads the thoughts.
    """

    def __init__(self, task: Task, tokenizer: Any = None) -> None:
        self._task = task
        self._tokenizer = tokenizer

    def __call__(
        self, hearing: Hearing, thoughts: Sequence[str | None], rescore: Rescore | None = None, **changes: Any
    ) -> Hearing:
        """The same hearing of other thoughts.

        Args:
            hearing: the original one.
            thoughts: one a completion; None where there are none, and nothing is to be heard.
            rescore: the reference's word on them; None where nobody reads it.
            changes: further fields of the hearing.
        """
        heard = [
            thought if readable else None
            for thought, readable in zip(thoughts, hearing.readable_N.tolist(), strict=True)
        ]
        texts = ["" if thought is None else self._task.opening(thought) for thought in heard]
        scores: Scores | None = None
        if rescore is None:
            completions, places = self._written(texts)
        else:
            rescored = rescore(texts)
            completions, places, scores = rescored.completions, list(rescored.places), rescored.scores
        transcripts = [
            replace(
                transcript,
                think=thought,
                answer_token=None if thought is None else place,
                text=text,
                outcome=Outcome.OK,
            )
            for transcript, thought, place, text in zip(hearing.transcripts, heard, places, texts, strict=True)
        ]
        rewritten: dict[str, Any] = {
            "completions": completions,
            "transcripts": transcripts,
            "trace_bytes": [text.encode() for text in texts],
            "trace_ids": [row[:place] for row, place in zip(completions.content_ids(), places, strict=True)],
            "reference": scores,
        }
        return replace(hearing, **{**rewritten, **changes})

    def _written(self, texts: Sequence[str]) -> tuple[Completions, list[int]]:
        """Completions of these texts, with one more token at the answer's place, and these places."""
        rows = [
            list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)) for text in texts
        ]
        pad = self._tokenizer.pad_token_id
        return Completions.from_ids([[*row, pad] for row in rows], pad), [len(row) for row in rows]
