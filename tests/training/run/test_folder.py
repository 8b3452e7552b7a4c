from lit_listener.training.run.folder import told_at_the_end


def test_what_is_told_at_the_end(tmp_path):
    run = tmp_path / "my run"
    assert told_at_the_end(run, judged=True) == []  # a trial leaves no run
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    assert told_at_the_end(run, judged=True) == [f"Run: {run}"]  # nothing was saved
    (run / "checkpoints" / "last.ckpt").touch()
    command = f"python -m lit_listener progress '{run}'"
    assert told_at_the_end(run, judged=True) == [f"Run: {run}", f"What training changed: {command}"]
    assert told_at_the_end(run, judged=False) == [f"Run: {run}"]
