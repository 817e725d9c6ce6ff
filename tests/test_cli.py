import re
import subprocess
import sys

import pytest

from pipeline import __version__
from pipeline.__main__ import main
from pipeline.steps import steps


def test_help_lists_every_step(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    listed = capsys.readouterr().out
    for step in steps().values():
        assert re.search(rf"^\s+{step.name}\s", listed, re.MULTILINE), step.name


@pytest.mark.parametrize("name", sorted(steps()))
def test_every_step_explains_its_arguments(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert "--config" in capsys.readouterr().out


def test_help_is_quick_because_nothing_heavy_is_loaded():
    program = "import sys; from pipeline.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "sys.exit(any(m in sys.modules for m in ('torch', 'librosa', 'pynwb', 'pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_a_mistake_gives_one_message_and_exit_status_2(tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("audio: {low_hzz: 3}\n")
    status = main(["check", "--config", str(config), "--sheet", "none.tsv"])
    message = capsys.readouterr().err
    assert status == 2
    assert message.startswith("duet check: unknown key 'audio.low_hzz'")
    assert "nearest: low_hz" in message and "Traceback" not in message


def test_a_missing_sheet_is_a_mistake_too(tmp_path, capsys):
    assert main(["check", "--sheet", str(tmp_path / "none.tsv")]) == 2
    assert "none.tsv" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(tmp_path, capsys):
    arguments = ["simulate", "--out-dir", str(tmp_path / "file" / "folder")]
    (tmp_path / "file").write_text("")
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("duet simulate: ") and str(tmp_path / "file") in told and "Traceback" not in told


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_what_is_odd_is_told_without_the_source(tmp_path):
    labels = tmp_path / "none.csv"
    labels.write_text("start_s,stop_s\n")
    command = [sys.executable, "-m", "pipeline", "score-calls", "--found", str(labels), "--labels", str(labels)]
    told = subprocess.run(command, capture_output=True, text=True).stderr.splitlines()
    assert told and all(line.startswith("warning: ") for line in told)
