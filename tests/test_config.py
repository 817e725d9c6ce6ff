import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pipeline.config import Config
from pipeline.config_file import load_config, subtree
from pipeline.errors import InputError
from pipeline.vae import families

REPOSITORY = Path(__file__).resolve().parents[1]


def leaves(values: dict, prefix: str = "") -> dict[str, object]:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def test_the_documented_file_holds_every_key_with_its_default():
    written = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    assert leaves(written) == leaves(Config().model_dump(mode="json"))


def test_the_documented_file_explains_every_key():
    lines = (REPOSITORY / "config" / "config.yaml").read_text().splitlines()
    for above, line in pairwise(lines):
        if re.match(r"\s*\w+: *\S", line):
            assert above.lstrip().startswith("#"), line


def test_the_schema_is_the_one_of_the_code():
    written = json.loads((REPOSITORY / "config" / "schema.json").read_text())
    assert written == Config.model_json_schema(), "run `make schema`"


def test_every_setting_is_described():
    def described(schema: dict) -> None:
        for name, field in schema["properties"].items():
            assert "description" in field or "$ref" in field, name

    schema = Config.model_json_schema()
    described(schema)
    for section in schema["$defs"].values():
        described(section)


def test_conda_installs_what_pip_installs():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in environment if isinstance(entry, dict)]
    assert sorted(pip) == sorted(project["dependencies"])
    assert f"python {project['requires-python']}" in environment


@pytest.mark.parametrize("path", sorted((REPOSITORY / "tests" / "real").glob("*.yaml")), ids=lambda p: p.stem)
def test_configurations_of_real_recordings_are_valid(path):
    assert load_config(path).sessions == "sessions.tsv"


def test_absent_keys_take_their_defaults(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("audio: {low_hz: 200, high_hz: 20000}\n")
    config = load_config(path)
    assert (config.audio.low_hz, config.audio.hop_s) == (200, Config().audio.hop_s)
    assert load_config() == load_config({}) == Config()


def test_a_step_gets_its_sections_and_nothing_else():
    config = load_config({"training": {"learning_rate": 0.5}})
    text = subtree(config, ("training", "seed"))
    assert set(json.loads(text)) == {"training", "seed"}
    assert load_config(text).training == config.training
    assert subtree(config, ("audio",)) == subtree(Config(), ("audio",)), "audio does not hang on the learning rate"
    assert "\n" not in text


def test_all_families_can_be_asked_for():
    assert load_config({"models": {"families": "all"}}).models.families == families()


def test_options_may_wait_for_a_family_that_is_not_trained():
    models = load_config({"models": {"families": ["mvae"], "options": {"meme": {"variant": "code"}}}}).models
    assert models.options == {"meme": {"variant": "code"}}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"audo": {}}, "nearest: audio"),
        ({"clips": {"split": {"n_block": 5}}}, "nearest: n_blocks"),
        ({"audio": {"hop_s": -1}}, r"audio\.hop_s[\s\S]*found:   -1[\s\S]*default 0\.001"),
        ({"audio": {"low_hz": 5e4, "high_hz": 4e4}}, "must be below"),
        ({"audio": {"hop_s": 0.01}}, "skip sound"),
        ({"audio": {"scale": "mel"}}, "needs n_bands"),
        ({"calls": {"min_duration_s": 0.5}}, r"min_duration_s \(0\.5\) must be below max_duration_s \(0\.4\)"),
        ({"mapping": {"n_surrogates_fine": 150}}, r"n_surrogates_fine \(150\) must be at least n_surrogates \(199\)"),
        ({"mapping": {"band_hz": 3}}, r"band_hz \(3\) must be 475 to 31666\.7 Hz"),
        ({"mapping": {"band_hz": 50e3}}, r"band_hz \(50000\) must be"),
        ({"mapping": {"max_lag_s": 150}}, r"mapping\.max_lag_s[\s\S]*less than or equal to 2"),
        ({"models": {"families": ["mvea"]}}, "did you mean 'mvae'"),
        ({"models": {"options": {"mvea": {"alpha": 1}}}}, r"models\.options: .*no family 'mvea'; known: .*mean 'mvae'"),
        ({"models": {"neural_weight": float("nan")}}, r"models\.neural_weight[\s\S]*finite"),
        ({"models": {"audio_weight": -1}}, r"models\.audio_weight[\s\S]*greater than or equal to 0"),
        ({"models": {"seeds": [1, 1]}}, "differ"),
        ({"models": {"latent_dims": [0]}}, "at least 1"),
        ({"clips": {"duration_s": 0.1, "counts": {"pre_s": -0.1, "post_s": 0}}}, "no count window"),
        ({"clips": {"mode": "slide"}}, "'sliding', 'call' or 'continuous'"),
        ({"extra": {"lfp": {"signl": "lfp"}}}, r"unknown key 'extra\.lfp\.signl'[\s\S]*nearest: signal"),
        ({"extra": {"lfp": {"signal": "eeg"}}}, r"extra\.lfp\.signal[\s\S]*'multiunit' or 'lfp'"),
        ({"extra": {"neural": {"signal": "lfp"}}}, "'neural' cannot be a modality's name"),
        ({"extra": {"a+b": {"signal": "lfp"}}}, "'a\\+b' cannot be a modality's name"),
        ({"extra": {name: {"signal": "covariates"} for name in "ab"}}, "one modality, not several"),
    ],
)
def test_a_mistake_is_named_with_its_mend(values, message):
    with pytest.raises(InputError) as caught:
        load_config(values)
    assert re.search(message, str(caught.value)), caught.value


def test_all_mistakes_are_told_at_once():
    with pytest.raises(InputError, match=r"2 problems[\s\S]*seed[\s\S]*audio\.hop_s"):
        load_config({"audio": {"hop_s": 0}, "seed": -1})


def test_the_width_of_tuning_bins_holds_for_linear_bands_alone():
    config = load_config({"audio": {"scale": "mel", "n_bands": 64, "low_hz": 500, "high_hz": 5000}})
    assert config.mapping.band_hz == 3000  # wider than a third of the range


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: [", "not valid YAML"),
        ("- 1\n", "must be a mapping"),
        ("audio: {low_hz: 4e4}\nseed: 1\naudio: {hop_s: 0.002}\n", "the key 'audio' stands twice"),
        ("audio:\n  hop_s: 0.001\n  hop_s: 0.002\n", "the key 'hop_s' stands twice"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"{message}[\s\S]*c\.yaml"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(InputError, match=r"cannot read[\s\S]*none\.yaml"):
        load_config(tmp_path / "none.yaml")
