"""Faults planted in pipeline/vae/meme.py, each of which tests/vae/test_meme.py must notice."""

MUTATIONS = [
    ("torch.exp(tempered - log_q_t).detach()", "torch.exp(tempered - log_q_t)", "gradient through the ratio"),
    ("ratio = ratios[0]", "ratio = 1.0", "ratio dropped"),
    ("beta * (kl + tempered[0])) + beta * log_q_t", "beta * kl) + beta * log_q_t", "log q(t|z) dropped"),
    ("beta * (kl + tempered[0])) + beta * log_q_t", "beta * (kl + tempered[0]))", "log q(t|s) dropped"),
    (
        "kl = log_q - Posterior.single(*theirs).log_prob(z[0][:, own])",
        "pass",
        "KL in closed form in the paper's variant",
    ),
    ("kl_divergence(*mine, *theirs)", "kl_divergence(*theirs, *mine)", "direction of the KL"),
    ("CODE_SCALE = 10", "CODE_SCALE = 1", "no factor on log q(t|s) in the code's variant"),
    ("value / 2, value)", "value, value)", "directions summed, not averaged"),
    ("value / 2, value)", "value / 2, value / 2)", "unpaired rows halved"),
    ("for s, t in ((0, 1), (1, 0)):", "for s, t in ((0, 1),):", "one direction only"),
    (
        "q_s.rsample(1 + self.fresh_samples, generator)",
        "q_s.rsample(1 + self.fresh_samples, generator).detach()",
        "samples without gradient",
    ),
    (
        "tempered = log_t / self._temperature(batch, names[t])",
        "tempered = log_t",
        "ratio not tempered",
    ),
    (
        "log_q_t = torch.logsumexp(tempered, 0) - math.log(len(tempered))",
        "log_q_t = torch.logsumexp(tempered[1:], 0) - math.log(len(tempered) - 1)",
        "q(t|s) without the sample at hand: the ratio has no bound",
    ),
    ("alone = self._weight(s) * log_s", "alone = log_s", "likelihood weight forgotten in unpaired rows"),
    ("log_q - p.log_prob(z[0][:, own])", "log_q", "prior of unpaired rows dropped"),
    ("kl = torch.where(paired, kl, ", "kl = torch.where(~paired, kl, ", "pseudo-samples for the paired rows"),
    (
        "self._pseudo_mixture(t, batch.session, generator)",
        "self._pseudo_mixture(s, batch.session, generator)",
        "own u_i",
    ),
    ("for row in range(2)]", "for row in range(1)]", "prior of one modality's pseudo-samples"),
    ("own = experts.speaks[s]", "own = experts.speaks.any(0)", "private latents of t in the KL"),
    (
        "return torch.where(paired, together, alone.masked_fill(~has_s, 0)), terms",
        "return together, terms",
        "no unpaired",
    ),
]
