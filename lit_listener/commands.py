"""The commands beside Lightning's, as plain functions: their signatures are their options."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from lit_listener.cli import build_cli
from lit_listener.evaluation.contents import sections
from lit_listener.evaluation.judged_pairs import TieRule
from lit_listener.evaluation.tables import before_after_table
from lit_listener.study.design import read_design, shortened
from lit_listener.study.jobs import jobs_of
from lit_listener.study.reading import read_study
from lit_listener.study.running import run_jobs
from lit_listener.study.watching import ProgressWatch
from lit_listener.training.exporting.export import check_push, push
from lit_listener.training.exporting.export import export as write_export
from lit_listener.training.reporting import about_runs, pictures_of, read_runs
from lit_listener.training.terminal import wide_terminal
from lit_listener.vlm.specs import DTypeName

_PAPERS_STUDY = Path("configs/shapes/study/study.yaml")


def progress(run_dir: Path, checkpoint: Path | None = None) -> None:
    """Judge a run's test pairs with its start and with its end; print what changed, and draw its learning curves.

    Args:
        run_dir: folder of a training run.
        checkpoint: the end; by default the run's last checkpoint.
    """
    # its figures need an extra that no other command needs
    from lit_listener.training.progress import compare, judge_before_and_after, write_progress  # noqa: PLC0415

    config = read_run_config(run_dir)
    cli = build_cli(config, run=False)
    before, after = judge_before_and_after(
        cli.model, cli.datamodule, cli.trainer, checkpoint or run_dir / "checkpoints" / "last.ckpt"
    )
    rows = compare(before, after)
    curves = write_progress(run_dir, before, after, rows)
    console = wide_terminal()
    console.print(before_after_table(rows))
    console.print(f"Learning curves: {curves}")


def report(
    run_dirs: list[Path],
    output: Path | None = None,
    sampled: int = 200,
    ties: TieRule = "wrong",
    seed: int = 0,
) -> None:
    """Draw every table and figure of a test run, or of several side by side, on one page that needs no network.

    Args:
        run_dirs: folders of finished test runs; each further one is also compared with the first, pair by pair, on the
            sources that both judged.
        output: folder to write; by default ``report`` in the run's folder, of several runs ``report_with_<others>`` in
            the first one's.
        sampled: pairs with pictures and traces that the page lets one browse; 0 for none.
        ties: what a judgement counts for that puts both images exactly level: wrong, half or right.
        seed: seed of the draw of these pairs.
    """
    # its figures need an extra that no other command needs
    from lit_listener.evaluation.report.compose import write_report  # noqa: PLC0415
    from lit_listener.evaluation.report.sample import sample  # noqa: PLC0415

    runs = read_runs(run_dirs)
    found = sections(runs, ties)
    browsed = sample(runs, pictures_of(run_dirs), sampled, seed) if sampled else None
    others = "_".join(["report", *(["with"] if len(runs) > 1 else []), *(each.resolve().name for each in run_dirs[1:])])
    folder = output or run_dirs[0] / others
    page = write_report(list(runs), found, browsed, folder, about_runs(runs, run_dirs))
    console = wide_terminal()
    for section in found:
        missing = [run for run in runs if all(row.source != section.source for row in runs[run])]
        if missing:
            console.print(f"{section.source}: not judged by {', '.join(missing)}, and not compared with", markup=False)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False, markup=False)


def study(
    file: Path = _PAPERS_STUDY,
    quick: bool = False,
    run_dir: Path | None = None,
    output: Path | None = None,
    processes: int = 2,
) -> None:
    """Train and test every arm of a study with every seed, and write what it says beside the paper's numbers.

    Whatever ends it, the same command goes on with it; a study that is finished is only written anew.

    Args:
        file: the study, as a YAML file.
        quick: its short form, which shows that all of it runs; its numbers mean little.
        run_dir: folder of its runs; by default runs/<the file's name>, or runs/<the file's name>-quick.
        output: folder of the document, reproduction.md, and of its pictures; by default docs, or with quick the runs'
            folder.
        processes: how many runs at a time; the machine's cores are shared between them.
    """
    # its figures need an extra that no other command needs
    from lit_listener.study.document import write_document  # noqa: PLC0415

    if processes < 1:
        raise ValueError(f"--processes: expected at least 1, got {processes}")
    design = read_design(file)
    root = run_dir or Path("runs") / (file.stem + ("-quick" if quick else ""))
    design = shortened(design) if quick else design
    console = wide_terminal()
    words = ["python", "-m", "lit_listener", "study", *(["--quick"] if quick else [])]
    words += [] if file == _PAPERS_STUDY else ["--file", str(file)]
    words += [] if run_dir is None else ["--run_dir", str(run_dir)]
    command = shlex.join(words if output is None else [*words, "--output", str(output)])
    try:
        with ProgressWatch(console) as watch:
            run_jobs(jobs_of(design, root), root, processes, watch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"The study has stopped, and nothing is lost. Go on with it: {command}") from None
    written = write_document(read_study(design, root), output or (root if quick else Path("docs")), command)
    console.print(f"Written: {written}", soft_wrap=True, highlight=False, markup=False)


def export(
    *,
    ckpt: Path,
    output: Path,
    config: Path | None = None,
    merge: bool = False,
    dtype: DTypeName | None = None,
    push_to_hub: str | None = None,
) -> None:
    """Write what a run trained as a folder that plain transformers and peft load, with a model card.

    Args:
        ckpt: a checkpoint file, a sharded checkpoint folder, or the folder of a run (its last checkpoint).
        output: folder to write; must be new or empty, and is written whole or not at all.
        config: the run's config; by default the config.yaml in its folder.
        merge: of a run with LoRA, write full weights, the adapter added to the unquantised base, not the adapter alone.
        dtype: number format of full weights; by default the base's own if that has 16 bits, else bfloat16. Adapters
            are float32.
        push_to_hub: hub id (owner/name) to upload the folder to as well; a repository that is not there yet is made
            private.
    """
    if push_to_hub is not None:
        check_push(push_to_hub)
    console = wide_terminal()

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    tell(f"Exporting {ckpt} …")
    written = write_export(ckpt, output, config_file=config, merge=merge, dtype=dtype, repo=push_to_hub)
    if merge and not written.merged:
        tell("--merge: the run trained all weights, so that there was no adapter to merge")
    tell(f"Wrote {written.folder}: {written.kind}, {written.size / 1e6:.1f} MB. Load it with\n  {written.how_to_load}")
    if push_to_hub is not None:
        tell(f"Uploading to {push_to_hub} …")
        tell(f"Uploaded: {push(output, push_to_hub)}")


def read_run_config(run_dir: Path) -> dict[str, Any]:
    """The config a run was made with, for building its model and data again without running anything.

    Raises:
        FileNotFoundError: the folder holds no run.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no config.yaml in {run_dir}: expected the folder of a training run")
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    for belongs_to_fit in ("ckpt_path", "weights_only"):
        config.pop(belongs_to_fit, None)
    config["run_dir"] = str(run_dir)
    return config
