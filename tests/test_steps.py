import shutil
import subprocess
import sys

import pytest

from pipeline.config import Config
from pipeline.steps import ROOT, steps

NAMES = {"simulate", "check", "spectrogram", "calls", "bin", "clips", "tune", "train", "embed"}
NAMES |= {"baselines", "evaluate", "map", "score", "report"}


def test_every_step_of_the_design_is_there_and_says_what_it_does():
    assert set(steps()) >= NAMES
    for step in steps().values():
        assert len(step.help) > 10, step.name


def test_settings_are_sections_of_the_configuration():
    for step in steps().values():
        assert set(step.settings) <= set(Config.model_fields), step.name


def test_models_do_not_hang_on_the_report_nor_spectrograms_on_training():
    assert "training" in steps()["train"].settings
    assert not {"training", "models"} & set(steps()["spectrogram"].settings)


def test_reading_the_steps_loads_nothing_heavy():
    program = (
        "import sys, pipeline.steps as s, pipeline.config_file, pipeline.sessions, pipeline.mapping.tables; s.steps(); "
    )
    program += "print([m for m in ('torch', 'librosa', 'pynwb', 'pandas', 'scipy', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.fixture
def code_of(tmp_path):
    """A copy of the package, and the hashes of its steps as a fresh process sees them."""
    shutil.copytree(ROOT, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    program = "from pipeline.steps import steps; print(*(f'{s.name}={s.code}' for s in steps().values()))"

    def codes() -> dict[str, str]:
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return dict(pair.split("=") for pair in result.stdout.split())

    codes.folder = tmp_path / "pipeline"
    return codes


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_an_edit_changes_the_steps_that_use_the_file_and_no_others(code_of):
    before = code_of()
    assert before == {name: step.code for name, step in steps().items()}, "the same files, the same hash"

    path = code_of.folder / "audio" / "spectrogram.py"
    path.write_text(path.read_text() + "# edited\n")
    edited = changed(before, code_of())
    assert "spectrogram" in edited
    assert not {"simulate", "score"} & edited

    path = code_of.folder / "vae" / "gaussians.py"  # reached through others: the families are found by name
    before = code_of()
    path.write_text(path.read_text() + "# edited\n")
    edited = changed(before, code_of())
    assert {"train", "embed", "evaluate"} <= edited
    assert not {"spectrogram", "bin", "simulate"} & edited

    path = code_of.folder / "errors.py"
    before = code_of()
    path.write_text(path.read_text() + "# edited\n")
    assert changed(before, code_of()) >= NAMES
