"""Sums of responses over the bins in which a pitch sounded, for calls in their own order and in others."""

import numpy as np
from scipy import sparse

from pipeline.mapping.nulls import orders_within
from pipeline.mapping.responses import CallBins

WIDTHS = (1, 3, 5)  # adjacent bands that are tested together: units are mostly tuned more widely than to one
ORDERS_AT_ONCE = 16  # each response is read once for so many orders, and their sums still fit a processor's cache


class BandSums:
    """Sums of responses over the bins whose pitch lies in each band, when calls carry each other's contours.

    Bands of the bins have shape (n_orders, n): in the row of an order, call i carries the contour of call order[i].
    With `part` (n_bouts,), 0 A, 1 B or 2 neither, everything is given by part of the session: A, B, all; else for all.
    """

    def __init__(self, calls: CallBins, edges_hz: np.ndarray, part: np.ndarray | None = None):
        self.calls = calls
        self.n_bands = len(edges_hz) - 1
        self.n_parts = 1 if part is None else 3
        band = np.searchsorted(edges_hz, calls.contour_hz, side="right") - 1
        band = np.where((band >= 0) & (band < self.n_bands), band, self.n_bands)  # last: outside
        self.band_of_contour = band.astype(np.min_scalar_type(self.n_bands))
        self.offset = 0 if part is None else part[calls.bout, None].astype(np.int32) * (self.n_bands + 1)

    def bands(self) -> np.ndarray:
        """Bands of the bins as they were, shape (1, n)."""
        return self.band_of_contour[self.calls.call, self.calls.position][None]

    def drawn_bands(self, n_orders: int, generator: np.random.Generator) -> np.ndarray:
        """Bands of the bins in random orders of the calls of each bout."""
        drawn = np.empty((n_orders, len(self.calls.call)), self.band_of_contour.dtype)
        for bands in drawn:
            order = orders_within(self.calls.call_bout, 1, generator)[0]
            bands[:] = self.band_of_contour[order[self.calls.call], self.calls.position]
        return drawn

    def sizes(self, bands: np.ndarray) -> np.ndarray:
        """Numbers of bins, shape (n_orders, n_parts, n_bands)."""
        return self._by_part(np.bincount(self._keys(bands).ravel(), minlength=self._n_keys(bands)), bands)

    def scores(
        self, bands: np.ndarray, responses: np.ndarray, *, widths: tuple[int, ...] = WIDTHS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums over the root of the sizes, which are of even variance where responses are unrelated to the pitch.

        `responses` (n_lags, n, n_units). Returns those of single bands, by part (n_orders, n_parts, n_bands, n_lags,
        n_units), and those of all windows of `widths` adjacent bands, of part A (where there are parts) and of all,
        (n_orders, 2 or 1, n_windows, n_lags, n_units).
        """
        keys = self._keys(bands)
        ones, starts = np.ones(keys.size, np.float32), np.arange(0, keys.size + 1, len(bands), dtype=np.int32)
        picks = sparse.csc_matrix((ones, keys.ravel(), starts), shape=(self._n_keys(bands), len(keys)))
        total = np.empty((len(responses), picks.shape[0], responses.shape[2]), np.float32)
        for at_lag, response in zip(total, responses, strict=True):
            at_lag[:] = picks @ response
        total = self._by_part(total.swapaxes(0, 1), bands)
        sizes = self.sizes(bands)
        kept = [0, -1] if self.n_parts > 1 else [0]
        wide, wide_sizes = (
            np.stack([over_windows(values[:, part], widths) for part in kept], axis=1) for values in (total, sizes)
        )
        for sums, of in ((total, sizes), (wide, wide_sizes)):
            sums /= np.sqrt(np.maximum(of, 1)).astype(np.float32)[..., None, None]
        return total, wide

    def _keys(self, bands):
        """Row in the sums of each bin in each order, (n, n_orders) int32."""
        keys = bands.T.astype(np.int32, order="C")
        keys += np.arange(len(bands), dtype=np.int32) * (self.n_parts * (self.n_bands + 1))
        keys += self.offset
        return keys

    def _n_keys(self, bands):
        return len(bands) * self.n_parts * (self.n_bands + 1)

    def _by_part(self, rows, bands):
        rows = rows.reshape(len(bands), self.n_parts, self.n_bands + 1, *rows.shape[1:])[:, :, :-1]
        if self.n_parts > 1:
            rows[:, 2] = rows.sum(axis=1)
        return rows


def over_windows(values: np.ndarray, widths: tuple[int, ...] = WIDTHS) -> np.ndarray:
    """Sums of `values` (n_orders, n_bands, ...) over runs of `widths` adjacent bands, (n_orders, n_windows, ...)."""
    n_bands = values.shape[1]
    running = np.zeros((values.shape[0], n_bands + 1, *values.shape[2:]), values.dtype)
    np.cumsum(values, axis=1, out=running[:, 1:])
    starts = [np.arange(max(n_bands - width + 1, 0)) for width in widths]
    first = np.concatenate(starts)
    stop = np.concatenate([start + width for start, width in zip(starts, widths, strict=True)])
    return running[:, stop] - running[:, first]
