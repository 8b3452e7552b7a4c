"""The loss of replies that are right with a weight each: expected negative log-likelihood.

Gambashidze et al. 2025 compare with supervised fine-tuning on answers ("SFT on HPDv2"). With weight 1 on the right
reply this is its loss; with the shares of people's votes as weights it is the cross-entropy between votes and model.
Left out: which replies there are, and the model.

Letters in names: N replies of P questions, a question's side by side; T tokens.
"""

from torch import Tensor


def expected_nll(log_probs_NT: Tensor, mask_NT: Tensor, weight_N: Tensor, questions: int) -> Tensor:
    """The mean over questions of -sum_n w_n log p(reply n), in nats.

    A reply's log-probability is the sum over its tokens, not the mean: it is the probability of the whole reply.

    Args:
        log_probs_NT: Log-probability of each token of each reply, shape [N, T].
        mask_NT: True at the replies' tokens, shape [N, T]; what stands elsewhere is not read, NaN included.
        weight_N: Weight of each reply, shape [N], at least 0; a question's weights sum to 1.
        questions: P.

    Returns:
        A number.

    Raises:
        ValueError: If the shapes disagree, or the weights do not sum to the number of questions.

    Examples:
        >>> import torch
        >>> log_probs = torch.tensor([[0.5, 1.0], [0.5, 1.0]]).log()
        >>> expected_nll(log_probs, torch.ones(2, 2, dtype=torch.bool), torch.tensor([0.25, 0.75]), 1)
        tensor(0.6931)
    """
    if log_probs_NT.shape != mask_NT.shape or weight_N.shape != log_probs_NT.shape[:1]:
        raise ValueError(
            f"log_probs_NT, mask_NT and weight_N must have the shapes [N, T], [N, T] and [N], got "
            f"{list(log_probs_NT.shape)}, {list(mask_NT.shape)} and {list(weight_N.shape)}"
        )
    if bool((weight_N < 0).any()) or abs(float(weight_N.sum()) - questions) > 1e-3 * questions:
        raise ValueError(f"weight_N must be at least 0 and sum to the {questions} questions, got {weight_N.tolist()}")
    reply_N = log_probs_NT.masked_fill(~mask_NT, 0.0).sum(1)
    return -(weight_N * reply_N).sum() / questions
