"""Counts that are laid out when they are asked for: the bins of the spikes take a fraction of the memory."""

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

FEW_BINS = 2**15  # they lie in the cache, so that they can be laid out bin by bin, as they are written


class LazyCounts(BackendArray):
    """Shape (n_bins, n_units), out of the sorted numbers of the bins, from `first_bin` on, of units' spikes."""

    def __init__(self, places: list[np.ndarray], *, first_bin: int, n_bins: int, dtype: type):
        self.places, self.first_bin, self.dtype = places, first_bin, np.dtype(dtype)
        self.shape = (n_bins, len(places))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._basic)

    def _basic(self, key: tuple) -> np.ndarray:
        bins, units = key
        if not isinstance(bins, slice):
            return self.dense(bins, bins + 1)[0, units]
        start, stop, step = bins.indices(self.shape[0])
        low, high = (start, stop) if step > 0 else (stop + 1, start + 1)
        block = self.dense(low, max(high, low), units)
        return block[:: -1 if step < 0 else 1][:: abs(step)]

    def dense(self, first: int, stop: int, units: int | slice = slice(None)) -> np.ndarray:
        """Counts of the bins `first` to `stop - 1`, Shape (stop - first, n_units); many, unit by unit in memory."""
        places = self.places[units] if isinstance(units, slice) else [self.places[units]]
        counts = np.zeros((stop - first, len(places)), self.dtype, order="C" if stop - first <= FEW_BINS else "F")
        first, stop = self.first_bin + first, self.first_bin + stop
        ends = np.array([first, stop], np.int32)  # of the type of the places, so that these are not converted
        one = self.dtype.type(1)
        for of_unit, place in zip(counts.T, places, strict=True):
            low, high = np.searchsorted(place, ends)
            np.add.at(of_unit, place[low:high].astype(np.intp) - first, one)
        return counts if isinstance(units, slice) else counts[:, 0]
