from itertools import combinations

import numpy as np

from lit_listener.data.sources.lists import ListIndex, pair_lists


def by_hand(lists: list[list[int]]) -> list[tuple[int, int, int, float]]:
    found = []
    for number, ranks in enumerate(lists):
        for i, j in combinations(range(len(ranks)), 2):
            found.append((number, i, j, 0.5 if ranks[i] == ranks[j] else float(ranks[i] < ranks[j])))
    return found


def paired(lists: list[list[int]]) -> list[tuple[int, int, int, float]]:
    pairs = pair_lists(np.array([len(ranks) for ranks in lists]), np.concatenate(lists).astype(float))
    return [
        (int(n), int(i), int(j), float(share))
        for n, (i, j), share in zip(pairs.lists_N, pairs.places_N2, pairs.shares_N, strict=True)
    ]


def test_a_list_of_three_with_a_tie():
    assert paired([[2, 1, 2]]) == [(0, 0, 1, 0.0), (0, 0, 2, 0.5), (0, 1, 2, 1.0)]


def test_lists_of_several_lengths_as_a_plain_loop_pairs_them():
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, 6, size=size).tolist() for size in (4, 9, 1, 4, 2, 7)]
    assert paired(lists) == by_hand(lists)


def test_the_authors_466_lists_make_7230_pairs():
    sizes = np.repeat([4, 5, 6, 7, 8, 9], [194, 2, 45, 159, 43, 23])
    pairs = pair_lists(sizes, np.ones(sizes.sum()))
    # 194 x 6 + 2 x 10 + 45 x 15 + 159 x 21 + 43 x 28 + 23 x 36
    assert len(pairs.shares_N) == 7230
    assert (pairs.shares_N == 0.5).all()


def test_lists_of_some_of_the_images():
    lists = ListIndex(np.array([2, 1, 3]), np.arange(6) * 10, np.array([0, 1, 0, 0, 2, 3]), np.arange(6.0), np.ones(6))
    assert lists.starts_L.tolist() == [0, 2, 3]
    left, numbers = lists.keep(np.array([True, False, False, True, True, False]))
    assert (left.sizes_L.tolist(), left.starts_L.tolist(), left.rows_I.tolist()) == ([1, 2], [0, 1], [0, 30, 40])
    assert (left.items_I.tolist(), left.ranks_I.tolist(), left.scores_I.tolist()) == ([0, 0, 2], [0, 3, 4], [1, 1, 1])
    assert numbers[[0, 2]].tolist() == [0, 1]  # the second list is gone
    assert ListIndex(np.array([1]), np.zeros(1), np.zeros(1), np.zeros(1)).keep(np.array([True]))[0].scores_I is None
