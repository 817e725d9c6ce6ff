"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_families.py", "test_base.py", "-k", "mvae or private or generation or unknown"]
MUTATIONS = [
    (" - self.beta_at(step) * kl", "", "no KL"),
    ("- self.beta_at(step) * kl", "+ self.beta_at(step) * kl", "KL with the wrong sign"),
    ("self.beta_at(step) * kl", "self.beta * kl", "no warm-up"),
    ("experts.mask(members), prior_expert=True", "experts.mask(members), prior_expert=False", "no prior in training"),
    (
        "experts.mask(experts.present), prior_expert=True",
        "experts.mask(experts.present), prior_expert=False",
        "at test",
    ),
    ("kl_to_standard_normal(mean, log_variance)  #", "kl_to_standard_normal(mean, 2 * log_variance)  #", "variance"),
    ("value + self.weighted(found)", "value + sum(found.values())", "without the weights"),
    ("(batch, z, members)", "(batch, z, experts.present)", "reconstructs more than the subset"),
    ("rsample(1, generator)[0]", "mean", "the mean instead of a sample"),
    ("rsample(1, generator)[0]", "rsample(1, generator)[0].detach()", "no gradient through the sample"),
    ("present[row] & several", "present[row]", "what a row has alone counts twice"),
    ("has_all & has_more", "has_all", "all that a row has counts twice"),
    ("[: self.random_subsets]", "", "every subset at every step"),
    ("subsets = [present]", "subsets = []", "no joint term"),
    ("torch.randperm(len(others), generator=generator, device=present.device)", "torch.arange(len(others))", "order"),
]
