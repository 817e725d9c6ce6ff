import sys

import pytest

from pipeline import discovery
from pipeline.errors import InputError
from pipeline.vae import PARTS, families


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "kinds"
    folder.mkdir()
    for name in ("__init__", "first", "second", "_private", "base"):
        (folder / f"{name}.py").write_text(f"NAME = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    import kinds

    yield kinds
    for name in [name for name in sys.modules if name.split(".")[0] == "kinds"]:
        del sys.modules[name]


def test_a_file_is_an_implementation(package):
    assert discovery.names_in(package, beside={"base"}) == ["first", "second"]
    assert discovery.load(package, "second", what="kind").NAME == "second"


def test_an_unknown_name_gets_the_known_ones(package):
    with pytest.raises(InputError, match=r"no such kind[\s\S]*first, second[\s\S]*nearest: second"):
        discovery.load(package, "secnd", what="kind")


def test_families_are_files_that_are_not_parts():
    assert {"unimodal", "mvae", "mopoe"} <= set(families())
    assert not PARTS & set(families())
