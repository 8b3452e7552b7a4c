"""A run that is killed is gone on with as if nothing had happened: three kills of a real process."""

import pytest

from tests.killing import Killer


@pytest.mark.slow
def test_three_kills(tmp_path):
    kills = Killer(tmp_path, seed=0).run(["saving", "full disk", "anywhere"])
    assert len(kills) == 3
