"""A small Gaussian process over configurations and training length, in numpy and scipy.

Matern-5/2 kernel with one length scale for each column (arXiv 1206.2944), plus a linear trend in the last column, the
length of the training, which all configurations share: all learn. Hyperparameters are taken at their posterior mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from tuner.search.cube import Array, Mask

_JITTER = 1e-8  # on the diagonal: two trials of one configuration would make the matrix singular
_MIDDLE = 0.5  # of the last column: where the trend is zero
_SCALARS = 3  # hyperparameters after the length scales: logs of signal, trend and noise variance
_ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Log-normal priors of the kernel's hyperparameters.

    Weak, so that data soon overrule them: a wrong one costs more than a right one gains. Values are standardised, hence
    the signal's median of 1.
    """

    length_scales: Array
    """Median of each column's length scale, shape (columns,)."""
    length_spread: float = 0.75
    amplitude_spread: float = 0.7
    """Of the signal's variance, whose median is 1."""
    trend: float = 0.37
    """Median variance of the slope of the trend."""
    trend_spread: float = 1.0
    noise: float = 1e-3
    """Median variance of the noise."""
    noise_spread: float = 1.5

    @property
    def mode(self) -> Array:
        """Logarithms: length scales, then the variances of signal, trend and noise."""
        return np.concatenate([np.log(self.length_scales), [0.0, math.log(self.trend), math.log(self.noise)]])

    @property
    def spreads(self) -> Array:
        lengths = np.full(len(self.length_scales), self.length_spread)
        return np.concatenate([lengths, [self.amplitude_spread, self.trend_spread, self.noise_spread]])


def _squared_distances(a: Array, b: Array, unordered: Mask) -> Array:
    """Squared distances of all pairs in each column, shape (columns, len(a), len(b)); 0 or 1 where unordered."""
    difference: Array = a.T[:, :, None] - b.T[:, None, :]
    difference *= difference
    if unordered.any():
        difference[unordered] = difference[unordered] > 0
    return difference


def fit(x: Array, y: Array, *, prior: Prior, unordered: Mask, iterations: int) -> Array:
    """The hyperparameters at their posterior mode, as `Prior.mode` lists them.

    Args:
        x: Observed points, shape (observations, columns).
        y: Their values, standardised.
        prior: Of the hyperparameters.
        unordered: Which columns hold choices without order.
        iterations: Of L-BFGS at most.
    """
    n = len(y)
    rows, columns = np.tril_indices(n, -1)
    pairs = rows * n + columns  # places below the diagonal: each pair of points once
    squares = _squared_distances(x, x, unordered).reshape(x.shape[1], n * n)[:, pairs]
    mode, spreads = prior.mode, prior.spreads
    lengths = x[:, -1] - _MIDDLE
    slopes, own_slopes = lengths[rows] * lengths[columns], lengths * lengths

    def loss(theta: Array) -> tuple[float, Array]:
        inverse_squares = np.exp(-2.0 * theta[:-_SCALARS])
        amplitude, trend, noise = np.exp(theta[-_SCALARS:])
        r = _ROOT5 * np.sqrt(inverse_squares @ squares)
        decay = amplitude * np.exp(-r)
        growth = (1.0 + r) * decay
        kernel = growth + (r * r / 3.0) * decay
        covariance = np.zeros(n * n)
        covariance[pairs] = kernel + trend * slopes
        covariance[:: n + 1] = amplitude + trend * own_slopes + noise + _JITTER
        # Row by row the lower triangle is, for LAPACK, the upper one: nothing is copied.
        chol, failed = lapack.dpotrf(covariance.reshape(n, n).T, lower=0, overwrite_a=1)
        if failed:
            return 1e10, np.zeros_like(theta)  # L-BFGS turns back, and its search goes on nearer by
        log_determinant = 2.0 * float(np.log(np.diag(chol)).sum())
        alpha = cho_solve((chol, False), y, check_finite=False)
        inverse, _ = lapack.dpotri(chol, lower=0, overwrite_c=1)
        inverse = inverse.T.ravel()
        outer = inverse[pairs] - alpha[rows] * alpha[columns]
        own = inverse[:: n + 1] - alpha * alpha
        pull = (theta - mode) / spreads
        value = 0.5 * (float(y @ alpha) + log_determinant + float(pull @ pull))
        gradient = np.empty_like(theta)
        gradient[:-_SCALARS] = (5.0 / 3.0) * inverse_squares * (squares @ (growth * outer))
        gradient[-3] = float(outer @ kernel) + 0.5 * amplitude * float(own.sum())
        gradient[-2] = trend * (float(outer @ slopes) + 0.5 * float(own @ own_slopes))
        gradient[-1] = 0.5 * noise * float(own.sum())
        return value, gradient + pull / spreads

    bounds = [(m - 4 * s, m + 4 * s) for m, s in zip(mode, spreads, strict=True)]
    found = minimize(
        loss,
        mode,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations},
    )
    theta: Array = found.x
    return theta


class Process:
    """A Gaussian process with given hyperparameters, conditioned on observations."""

    def __init__(self, x: Array, y: Array, *, theta: Array, unordered: Mask) -> None:
        """
        Args:
            x: Observed points, shape (observations, columns).
            y: Their values.
            theta: Hyperparameters, from `fit`.
            unordered: Which columns hold choices without order.
        """
        self._unordered = unordered
        self._inverse_squares = np.exp(-2.0 * theta[:-_SCALARS])
        self._amplitude, self._trend, noise = np.exp(theta[-_SCALARS:])
        self._noise = noise + _JITTER
        self._x = x
        covariance = self._kernel(x, x)
        covariance[np.diag_indices_from(covariance)] += self._noise
        self._chol = np.linalg.cholesky(covariance)
        self._alpha = cho_solve((self._chol, True), y, check_finite=False)
        self._pools: list[Pool] = []

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free value at points, each of shape (points,)."""
        pool = Pool(self, x)
        return pool.mean, pool.deviation

    def mean(self, x: Array) -> Array:
        """The mean alone, which costs less, shape (points,)."""
        mean: Array = self._kernel(x, self._x) @ self._alpha
        return mean

    def pool(self, x: Array) -> Pool:
        """Predictions at points that will be asked for again, after the process has come to believe in others."""
        self._pools.append(Pool(self, x))
        return self._pools[-1]

    def believe(self, x: Array) -> None:
        """Take pending points, shape (points, columns), to turn out as predicted: they become certain, no mean changes.

        This is the kriging believer of Ginsbourger et al. (2010).
        """
        explained = solve_triangular(self._chol, self._kernel(self._x, x), lower=True, check_finite=False)
        covariance = self._kernel(x, x) - explained.T @ explained
        own = np.diag_indices_from(covariance)
        covariance[own] = np.maximum(covariance[own], 0.0) + self._noise
        corner = _cholesky(covariance, self._noise)
        for pool in self._pools:
            pool.follow(self._kernel(x, pool.x), explained, corner)
        size, more = explained.shape
        chol = np.zeros((size + more, size + more))
        chol[:size, :size] = self._chol
        chol[size:, :size] = explained.T
        chol[size:, size:] = corner
        self._chol = chol
        self._x = np.vstack([self._x, x])
        self._alpha = np.append(self._alpha, np.zeros(more))  # their residuals are zero

    def project(self, x: Array) -> tuple[Array, Array, Array]:
        """Mean, prior variance and explained part, shape (observations, points), at points."""
        cross = self._kernel(self._x, x)
        explained = solve_triangular(self._chol, cross, lower=True, check_finite=False)
        return cross.T @ self._alpha, self._prior_variance(x), explained

    def _prior_variance(self, x: Array) -> Array:
        variance: Array = self._amplitude + self._trend * (x[:, -1] - _MIDDLE) ** 2
        return variance

    def _kernel(self, a: Array, b: Array) -> Array:
        trend = self._trend * np.outer(a[:, -1] - _MIDDLE, b[:, -1] - _MIDDLE)
        if self._unordered.any():
            squares = _squared_distances(a, b, self._unordered)
            squared = np.tensordot(self._inverse_squares, squares, axes=1)
        else:
            scale = np.sqrt(self._inverse_squares)
            a, b = a * scale, b * scale
            squared = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T), 0.0)
        r = np.sqrt(squared)
        matern = self._amplitude * (1.0 + _ROOT5 * r + (5.0 / 3.0) * squared) * np.exp(-_ROOT5 * r)
        kernel: Array = matern + trend
        return kernel


def _cholesky(covariance: Array, noise: float) -> Array:
    """The lower factor; where points are so near to one another that rounding leaves none, with more noise."""
    while True:
        try:
            return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        except np.linalg.LinAlgError:
            covariance[np.diag_indices_from(covariance)] += noise
            noise *= 10.0


class Pool:
    """Predictions at a fixed set of points; one of a process (`Process.pool`) follows what that comes to believe."""

    def __init__(self, process: Process, x: Array) -> None:
        self.x = x
        self.mean, prior, self._explained = process.project(x)
        self._variance = prior - np.einsum("ij,ij->j", self._explained, self._explained)

    @property
    def deviation(self) -> Array:
        """Standard deviations, shape (points,)."""
        deviation: Array = np.sqrt(np.maximum(self._variance, 1e-12))
        return deviation

    def follow(self, covariances: Array, explained: Array, corner: Array) -> None:
        """Count more observations, where they were expected.

        Args:
            covariances: Of them with the points, as they were before any observation, shape (more, points).
            explained: What they add to the Cholesky factor, beside its rows, shape (observations, more).
            corner: The same, below, shape (more, more).
        """
        left = covariances - explained.T @ self._explained
        added = solve_triangular(corner, left, lower=True, check_finite=False)
        self._explained = np.vstack([self._explained, added])
        self._variance = self._variance - np.einsum("ij,ij->j", added, added)
