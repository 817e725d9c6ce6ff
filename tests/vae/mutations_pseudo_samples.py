"""Faults planted in pipeline/vae/pseudo_samples.py, each of which tests/vae/test_meme.py must notice."""

TESTS = ["test_meme.py"]
MUTATIONS = [
    ("[:: len(chosen)]", "", "every u_i of every session"),
    ("if session in self.keys else list(self.keys)", "if session in self.keys else list(self.keys)[:1]", "one session"),
    (
        "rows = [b.present[self.name].nonzero().squeeze(-1) for b in own]",
        "rows = [torch.arange(len(b)) for b in own]",
        "rows that lack the modality",
    ),
    ("chosen.nanmean(0).nan_to_num(nan=0.0)", "chosen[0].nan_to_num(nan=0.0) * 0", "missing elements are 0"),
    ("if session is None and not shared:", "if False:", "shared set started anew with an added session"),
    ("session in (None, b.session)", "True", "samples of other sessions' units"),
    ('* getattr(self, f"scale_{key}")', "", "not in the data's units"),
]
