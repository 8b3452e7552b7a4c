"""Who writes demonstrations for any pairs, whatever they show, or has them."""

from dataclasses import replace

from lit_listener.data.shown import Demonstration, Demonstrator, Shown, a_pair

FINISHED = "I have finished thinking."
"""The papers' string in the place of thoughts, where they ask what an answer is worth without any."""


class AnswerOnly(Demonstrator):
    """Demonstrates the answer people gave, after a thought that says nothing: supervised fine-tuning without thoughts.

    Args:
        trace: what stands in the place of thoughts in every demonstration.
    """

    def __init__(self, trace: str = FINISHED) -> None:
        self.trace = trace

    def __call__(self, shown: Shown) -> Demonstration:
        """The preferred image as the answer.

        Raises:
            TypeError: No pair is shown.
            ValueError: The pair is a tie.
        """
        pair = a_pair(shown, "AnswerOnly")
        if pair.label is None:
            raise ValueError(f"{pair.name} is a tie: there is no answer to demonstrate; drop ties from data.train")
        return Demonstration(pair, self.trace, pair.label)


class GivenTraces(Demonstrator):
    """Hands on thoughts that somebody else has written: a person, or a larger model.

    Such thoughts say "the first image" or "image 2" of one display order. So their pair is always shown in it, image A
    first, and the display order is as balanced as the data is.

    Args:
        column: the column of the data's rows that holds the thoughts, without tags (ImageGenCoT and TraceTable read
            them into ``trace``).
    """

    def __init__(self, column: str = "trace") -> None:
        self.column = column

    def __call__(self, shown: Shown) -> Demonstration:
        """The thoughts of the pair's row, and the image that people prefer as the answer.

        Raises:
            TypeError: No pair is shown.
            ValueError: The row has no such column, or nothing in it, or the pair is a tie.
        """
        pair = replace(a_pair(shown, "GivenTraces"), first="a")
        trace = pair.columns.get(self.column)
        if not isinstance(trace, str) or not trace.strip():
            raise ValueError(
                f"{pair.name}: expected thoughts in the column {self.column!r}, got {trace!r}; its columns are "
                f"{sorted(pair.columns)}: name the right one as data.traces.column, and a source that reads it as "
                "data.train (ImageGenCoT, TraceTable)"
            )
        if pair.label is None:
            raise ValueError(f"{pair.name} is a tie: there is no answer to demonstrate; drop ties from data.train")
        return Demonstration(pair, trace, pair.label)
