"""Options of every family: what is refused, and in which words."""

import math
import re

import pytest
from test_assembly import SPEC, make_clips

from pipeline.errors import InputError
from pipeline.vae import families
from pipeline.vae.options import option_problems, options_of
from pipeline.vae.spec import describe, family_class

WHOLE, NUMBER = "a whole number, at least", "a finite number, "


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("mvae", {"random_subset": 1}, r"mvae: unknown option.*found: +random_subset\n.*nearest: random_subsets"),
        ("unimodal", {"private_dim": {}}, "unknown option.*allowed: none"),
        ("mvae", {"random_subsets": "two"}, rf"mvae\.random_subsets.*found: +'two'.*allowed: {WHOLE} 0"),
        ("mvae", {"random_subsets": -1}, rf"found: +-1.*{WHOLE} 0"),
        ("mvae", {"random_subsets": True}, rf"found: +True.*{WHOLE} 0"),
        ("mvae", {"random_subsets": None}, rf"found: +None.*{WHOLE} 0"),
        ("mvtcae", {"alpha": "x"}, rf"mvtcae\.alpha.*found: +'x'.*{NUMBER}at least 0, at most 1"),
        ("mvtcae", {"alpha": 1.5}, "at most 1"),
        ("mvtcae", {"alpha": math.nan}, "found: +nan"),
        ("jmvae", {"alpha": math.nan}, rf"jmvae\.alpha.*found: +nan.*{NUMBER}at least 0"),
        ("jmvae", {"alpha": math.inf}, "found: +inf"),
        ("jmvae", {"alpha": "1e-3"}, r"found: +'1e-3'.*mend: .*1\.0e-3"),
        ("jmvae", {"variant": "one"}, "no such choice.*allowed: zero, kl"),
        ("jmvae", {"impute_iterations": 1.5}, rf"{WHOLE} 0"),
        ("telbo", {"gammas": 2}, rf"telbo\.gammas.*found: +2.*modality: {NUMBER}above 0"),
        ("telbo", {"gammas": {"neural": 0}}, rf"telbo\.gammas\.neural.*found: +0.*{NUMBER}above 0"),
        ("telbo", {"gammas": {"sound": 1}}, "telbo.gammas: unknown modality.*allowed: audio, neural"),
        ("telbo", {"stages": 3}, f"{WHOLE} 1, at most 2"),
        ("telbo", {"stages": True}, f"{WHOLE} 1, at most 2"),
        ("telbo", {"joint_share": 1}, f"{NUMBER}above 0, below 1"),
        ("mfm", {"label_weight": "a"}, rf"mfm\.label_weight.*found: +'a'.*{NUMBER}at least 0"),
        ("mfm", {"mmd_weight": -1.0}, "found: +-1.0"),
        ("mfm", {"prior_penalty": "gan"}, "allowed: mmd, kl"),
        ("mfm", {"labels": "up"}, "found: +'up'.*a list of text"),
        ("mfm", {"labels": [True, "up"]}, r"labels\.0.*found: +True.*allowed: text"),
        ("mfm", {"labels": [1]}, "two or more that differ"),
        ("meme", {"fresh_samples": 2.5}, rf"meme\.fresh_samples.*found: +2\.5.*{WHOLE} 1"),
        ("meme", {"pseudo_samples": 0}, f"{WHOLE} 1"),
        ("meme", {"variant": "theirs"}, "allowed: paper, code"),
        ("meme", {"ratio_temperature": 0}, f"{NUMBER}above 0"),
        ("mopoe", {"prior_expert": "some"}, "allowed: full, always, never"),
        ("mopoe", {"estimate": "exact"}, "allowed: sampled, stratified"),
        ("mopoe", {"private_dim": 4}, rf"mopoe\.private_dim.*found: +4.*modality: {WHOLE} 0"),
        ("mopoe", {"private_dim": {"audio": 1.5}}, rf"private_dim\.audio.*found: +1\.5.*{WHOLE} 0"),
        ("mopoe", {"private_dim": {"audio": -1}}, rf"private_dim\.audio.*found: +-1.*{WHOLE} 0"),
        ("mopoe", {"private_dim": {"adio": 1}}, "private_dim: unknown modality.*nearest: audio"),
        ("mmvaeplus", {"private_dim": {"audio": 0}}, "mmvaeplus: private_dim must be above 0"),
        ("mmvae", {"bound": "tigth"}, r"mmvae\.bound.*found: +tigth.*nearest: tight"),
        ("mmvae", {"objective": "elb"}, "allowed: iwae, elbo"),
        ("mmvae", {"gradient": "drag"}, "allowed: plain, stl, dreg, dreg_mixture"),
        ("mmvae", {"posterior": "cauchy"}, "allowed: normal, laplace"),
        ("mmvae", {"prior_scale": "free"}, "allowed: fixed, learned"),
        ("mmvae", {"k": 0}, f"{WHOLE} 1"),
        ("mmvae", {"objective": "elbo", "gradient": "dreg"}, "mmvae: objective elbo.*allowed: plain, stl"),
    ],
)
def test_a_mistake_is_told(family, options, message):
    (problem,) = option_problems(family_class(family), options, modalities=["audio", "neural"])
    assert re.search(message, str(problem), re.DOTALL), problem


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("mopoe", {"private_dim": None}),
        ("mopoe", {"private_dim": {"audio": 2, "lfp": 0}}),
        ("mmvae", {"gradient": None, "k": 3}),
        ("jmvae", {"alpha": 1, "impute_iterations": 0}),
        ("telbo", {"gammas": {"lfp": 2}, "stages": 1}),
        ("mfm", {"labels": [0, "up", 2.5], "mmd_weight": 0}),
        ("mfm", {"labels": []}),
        ("meme", {"ratio_temperature": 2, "private_dim": {"neural": 1}}),  # it has two modalities at most
    ],
)
def test_what_is_right_passes(family, options):
    assert option_problems(family_class(family), options, modalities=["audio", "neural", "lfp"]) == []


@pytest.mark.parametrize("family", families())
def test_every_option_has_a_type(family):
    for name, reader in options_of(family_class(family)).items():
        assert reader.json_schema(), name  # an argument without annotation would take anything


def test_all_mistakes_are_told_at_once_in_training_too():
    options = {"bound": "tigth", "k": 0, "private_dim": {"audio": 0.5, "neural": -1}, "alpha": 1}
    with pytest.raises(InputError, match=r"(?s)5 problems found.*bound.*k: .*\.audio.*\.neural.*found: +alpha"):
        describe([make_clips()], **(SPEC | {"family": "mmvae", "options": options}))
    with pytest.raises(InputError, match=r"^models\.options\.mmvae\.k: wrong value"):
        describe([make_clips()], **(SPEC | {"family": "mmvae", "options": {"k": 0}}))
