"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_families.py", "test_base.py", "-k", "mvae or private or generation or unknown"]
MUTATIONS = [
    (" - self.beta_at(step) * kl", "", "no KL"),
    ("- self.beta_at(step) * kl", "+ self.beta_at(step) * kl", "KL with the wrong sign"),
    ("self.beta_at(step) * kl", "self.beta * kl", "no warm-up"),
    (
        "experts.mask(members),\n            prior_expert=True",
        "experts.mask(members),\n            prior_expert=False",
        "no prior in training",
    ),
    (
        "experts.mask(experts.present), prior_expert=True",
        "experts.mask(experts.present), prior_expert=False",
        "at test",
    ),
    ("kl_to_standard_normal(mean, log_variance)\n", "kl_to_standard_normal(mean, 2 * log_variance)\n", "variance"),
    ("self.weighted(found)", "sum(found.values())", "without the weights"),
    ("(batch, z, members, rows)", "(batch, z, experts.present[:, rows], rows)", "reconstructs more than the subset"),
    ("(batch, z, members, rows)", "(batch, z, members, subset)", "compares with another row"),
    ("rsample(1, generator)[0]", "mean", "the mean instead of a sample"),
    ("rsample(1, generator)[0]", "rsample(1, generator)[0].detach()", "no gradient through the sample"),
    ("present[row] & several", "present[row]", "what a row has alone counts twice"),
    ("has_all & has_more", "has_all", "all that a row has counts twice"),
    ("[: self.random_subsets]", "", "every subset at every step"),
    ("subsets = [present]", "subsets = []", "no joint term"),
    ("torch.randperm(len(others), generator=generator, device=present.device)", "torch.arange(len(others))", "order"),
]
