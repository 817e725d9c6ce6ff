"""Faults planted in pipeline/vae/mvtcae.py, each of which tests/vae/test_mvtcae.py must notice."""

MUTATIONS = [
    ("(1 - share) * self.weighted(found)", "self.weighted(found)", "likelihood unscaled"),
    ("(1 - self.alpha) * kl", "kl", "KL to the prior unscaled"),
    ("share * sum(kls.values())", "0.0", "conditional KLs dropped"),
    ("share * sum(kls.values())", "self.alpha * sum(kls.values())", "conditional KLs summed, not averaged"),
    (
        "pair = (mean, log_variance, experts.means[row], experts.log_variances[row])",
        "pair = (experts.means[row], experts.log_variances[row], mean, log_variance)",
        "direction of the conditional KL",
    ),
    ("prior_expert=False", "prior_expert=True", "prior expert in the product"),
    ("experts.present.sum(0).clamp(min=1)", "len(experts.present)", "M counts absent modalities"),
    (".masked_fill(~experts.present[row], 0)", "", "KL to encoders that have not spoken"),
    ("values[:, own] for values", "values for values", "KL over other modalities' private latents"),
    ("self.weighted(found)", "sum(found.values())", "likelihood weights forgotten"),
    ("self.beta_at(step) * rate", "self.beta * rate", "no warmup"),
]
