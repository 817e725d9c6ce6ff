"""Which units make the clusters, and where the others are placed."""

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.mapping.units import Tunings, assign_clusters

EDGES_HZ = 40_000 + 3000.0 * np.arange(21)
CENTRE_HZ = (EDGES_HZ[1:] + EDGES_HZ[:-1]) / 2
N_BOUTS = 30


def bumps(best_hz):
    return np.exp2(-4 * ((CENTRE_HZ - np.asarray(best_hz)[:, None]) / 9000.0) ** 2)


def test_units_that_part_a_does_not_find_selective_make_no_cluster_and_are_placed_by_all_data():
    """Ten units at each of two bands; six more are alike in part A by chance, and belong to the first by all data."""
    generator = np.random.default_rng(0)
    in_a, in_all = (np.repeat([50e3, 90e3, last], [10, 10, 6]) for last in (70e3, 50e3))
    n_units, n_bands = len(in_a), len(CENTRE_HZ)
    response = np.zeros((N_BOUTS, n_units, n_bands + 1))
    response[..., :-1] = bumps(in_a) + 0.5 * generator.standard_normal((N_BOUTS, n_units, n_bands))
    gain = bumps(in_all) + 0.05 * generator.standard_normal((n_units, n_bands))
    names = [f"a|units|{unit}" for unit in range(n_units)]
    tuning = xr.Dataset(
        {
            "band_low_hz": ("band", EDGES_HZ[:-1]),
            "band_high_hz": ("band", EDGES_HZ[1:]),
            "band_tested": ("band", np.ones(n_bands, bool)),
            "bout_part": ("bout", np.full(N_BOUTS, "A", object)),
            "bout_response": (("bout", "unit", "design"), response),
            "bout_gram": (("bout", "design", "design_2"), np.tile(np.eye(n_bands + 1), (N_BOUTS, 1, 1))),
            "tuning_gain": (("part", "unit", "band"), gain[None]),
            "p_a": ("unit", np.repeat([0.01, 0.3], [20, 6])),
            "lag_s": ("unit", np.zeros(n_units)),
            "lag_a_s": ("unit", np.zeros(n_units)),
        },
        coords={"unit": np.array(names, object), "part": np.array(["all"], object)},
    )
    units = pd.DataFrame({"unit_id": names, "q_band": 0.01})
    nothing = np.zeros((n_units, n_bands)), np.zeros(n_units, bool)
    settings = {"q": 0.05, "n_consensus": 20, "max_clusters": 5, "min_units": 3, "max_lag_s": 0.1, "seed": 0}
    found, clustering = assign_clusters(Tunings({"a": tuning}), units, *nothing, **settings)
    first, second, others = np.split(found["cluster"].to_numpy(), [10, 20])
    assert clustering.n_clusters == 2 and set(first) | set(second) == {0, 1}
    assert len(set(first)) == len(set(second)) == 1 and (others == first[0]).all()
    assert found["votes_for"].tolist() == [*first, *second, *[-1] * 6]
    assert found["membership"].min() > 0.8
    tuning["tuning_gain"].values[:, :3] = (
        np.nan
    )  # too little sound in every single band: nothing says where they belong
    found, _ = assign_clusters(Tunings({"a": tuning}), units, *nothing, **settings)
    assert (found["cluster"].to_numpy()[:3] == -1).all() and (found["cluster"].to_numpy()[3:] >= 0).all()
