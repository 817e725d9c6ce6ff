"""Faults planted in pipeline/vae/mmvaeplus.py, each of which tests/vae/test_mmvaeplus.py must notice."""

MUTATIONS = [
    ("q.present, q.family), own", "q.present, q.family), None", "density of what comes from the auxiliary prior"),
    ("2 * self.auxiliary_log_sd", "self.auxiliary_log_sd", "SD for variance in the auxiliary prior"),
    ("torch.where(own, q.log_variances, auxiliary)", "q.log_variances", "no auxiliary prior"),
    ("means = q.means.masked_fill(~own, 0)", "means = q.means", "an expert sees others' private latents"),
    ("own = self.speaks[expert]", "own = self.speaks.all(0).expand(len(expert), -1)", "p(w_m) / q(w_m|x_m) dropped"),
    ("torch.where(shared, q.means, q.means.masked_fill(~knows, 0).sum(0))", "q.means", "private latents as mixture"),
    ("torch.where(shared, q.log_variances, private)", "q.log_variances", "private variances as mixture"),
    ("torch.where(knows.any(0), known, self.prior.log_variances[0])", "known + 1", "private variance"),
    ("max(latent_dim // 2, 1)", "0", "no private latents by default"),
    ("means, torch.where(own", "means.detach(), torch.where(own", "gradient to the experts' means cut"),
]
