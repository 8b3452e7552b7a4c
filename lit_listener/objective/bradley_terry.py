"""The loss of a reward model that gives each image a score: the Bradley-Terry model of preferences.

p(second preferred) = sigmoid(s_second - s_first) (Bradley and Terry 1952), fitted by maximum likelihood, as the reward
models of ImageReward (Xu et al. 2023, Eq. 1) are: -log sigmoid(s_winner - s_loser). Where the votes are known, their
shares take the place of the winner.
Left out: how an image gets its score.

Letters in names: N pairs.
"""

from torch import Tensor
from torch.nn import functional


def bradley_terry_loss(scores_N2: Tensor, share_second_N: Tensor) -> Tensor:
    """Cross-entropy of people's votes under the Bradley-Terry model.

    With d = s_second - s_first and q the share of the second image: -q log sigmoid(d) - (1 - q) log sigmoid(-d). A
    share of 1 or 0 gives -log sigmoid(s_winner - s_loser). Only the difference counts: a constant added to both scores
    changes nothing, and images that change places take their shares along.

    Args:
        scores_N2: Scores of the two images of each pair, shape [N, 2]; higher is better, no unit and no zero.
        share_second_N: Share of the votes that went to the second image, shape [N], in [0, 1].

    Returns:
        The loss of each pair in nats, float32, shape [N]; at least the entropy of its votes.

    Raises:
        ValueError: If the shapes disagree, or a share is NaN or outside [0, 1].

    Examples:
        >>> import torch
        >>> bradley_terry_loss(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([1.0, 1.0]))
        tensor([0.6931, 0.1269])
    """
    if scores_N2.ndim != 2 or scores_N2.shape[1] != 2:
        raise ValueError(f"scores_N2 must have shape [N, 2], two images a pair, got {list(scores_N2.shape)}")
    if share_second_N.shape != scores_N2.shape[:1]:
        raise ValueError(
            f"share_second_N must have shape {list(scores_N2.shape[:1])}, one share a pair, got "
            f"{list(share_second_N.shape)}"
        )
    if not bool(((share_second_N >= 0) & (share_second_N <= 1)).all()):
        raise ValueError(f"share_second_N must lie in [0, 1], got {share_second_N.tolist()}")
    difference_N = scores_N2[:, 1].float() - scores_N2[:, 0].float()
    share_N = share_second_N.to(difference_N)
    return -share_N * functional.logsigmoid(difference_N) - (1 - share_N) * functional.logsigmoid(-difference_N)
