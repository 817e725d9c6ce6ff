"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_families.py", "test_base.py", "-k", "unimodal"]
MUTATIONS = [
    (' - self.beta_at(step) * terms[f"kl_{name}"]', "", "no KL"),
    ("- self.beta_at(step) * terms", "+ self.beta_at(step) * terms", "KL with the wrong sign"),
    ("self.beta_at(step) * terms", "terms", "KL without beta"),
    ("kl_to_standard_normal(mean, log_variance)", "kl_to_standard_normal(mean, 2 * log_variance)", "wrong variance"),
    ("value + terms[name]", "value + self.modalities[name].weight * terms[name]", "weighted, though alone"),
    ("rsample(1, generator)[0]", "mean", "the mean instead of a sample"),
    ("experts.means[row], experts.log_variances[row]  #", "experts.means[0], experts.log_variances[row]  #", "a mean"),
    ("rsample(1, generator)[0]", "rsample(1, generator)[0].detach()", "no gradient through the sample"),
    ("Posterior.single(experts.means[row]", "Posterior.single(experts.means[0]", "the posterior of the first"),
]
