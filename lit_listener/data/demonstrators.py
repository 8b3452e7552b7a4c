"""Who writes demonstrations for any pairs, whatever they show."""

from lit_listener.data.records import Demonstration, Demonstrator, Shown, a_pair

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
