"""Thirty kills and more, of a real process: most at random times, some while a checkpoint is written."""

import pytest

from tests.killing import Aim, Killer, table

AIMS: list[Aim] = ["anywhere"] * 20 + ["saving"] * 10 + ["full disk"] * 3 + ["SIGTERM"] * 3


@pytest.mark.accept
def test_a_run_survives_whatever_kills_it(tmp_path):
    mixed = [AIMS[(place * 7) % len(AIMS)] for place in range(len(AIMS))]  # 7 and 36 share no factor
    kills = Killer(tmp_path, seed=0).run(mixed)
    print(f"\n{table(kills)}\n{len(kills)} kills; every run ended as the one left in peace, to the last bit")
    assert len(kills) >= 30
    assert sum(kill.torn for kill in kills) >= 5
    assert len({kill.rollouts for kill in kills}) >= 5
