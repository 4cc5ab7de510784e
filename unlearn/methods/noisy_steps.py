"""Clipped steps in noise: what they hide of where they started, and the noise for it.

    theta_0 <- a + clip(theta - a, radius)
    theta_t <- a + rho (theta_{t-1} - a) - rate clip(g_t, limit) + N(0, sigma^2)

`a` depends on no data. Two runs with the same gradients' rule, from any two starts, are
before their noise at most

    D = 2 radius rho^T + 2 rate limit (1 + rho + ... + rho^(T-1))

apart, of which the noise of all steps hides, as one Gaussian mechanism of

    mu = D / (sigma sqrt(1 + rho^2 + ... + rho^(2(T-1))))

whatever the net: nothing is assumed of its loss, and numbers that are none count as 0.
Only the last weights may be seen, but all that is made of them afterwards without the
forget set. Koloskova et al., "Certified Unlearning for Neural Networks", 2025,
https://arxiv.org/abs/2506.06985, with Renyi divergences; here by shifted interpolation
(Bok et al., 2024, https://arxiv.org/abs/2403.00278, whose proof needs of a step no more
than how far apart it leaves two points). Where gradients are worst the two are D apart
before the noise, so that hardly less of it would do. From mu to epsilon and delta:
Balle & Wang, 2018, https://arxiv.org/abs/1805.06530.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.scipy.special import log_ndtr

from unlearn.errors import InputError
from unlearn.methods.noise_reset import gaussian
from unlearn.problem import Problem, Variables
from unlearn.training import Objective, shuffle

Number = float | jax.Array
EPSILONS, DELTAS = (0.01, 1e4), (1e-15, 0.5)


class Steps(NamedTuple):
    """How the steps go; all floats may be traced."""

    count: int  # T
    kept: Number  # rho^T: how much of the way from `a` is left at the end
    rate: Number
    limit: Number  # of the norm of a gradient
    radius: Number  # of the distance of the start from `a`

    @property
    def rho(self) -> Number:
        return self.kept ** (1 / self.count)

    def check(self, epsilon: Number, delta: Number) -> None:
        """Refuses what makes no sense, where it is known before tracing.

        Raises:
          InputError: in one line.
        """
        if self.count < 1:
            raise InputError(f"noisy steps must be 1 or more; there are {self.count}")
        limits = {
            "kept": (self.kept, 0.0, 1.0),
            "rate": (self.rate, 0.0, math.inf),
            "clip": (self.limit, 0.0, math.inf),
            "radius": (self.radius, 0.0, math.inf),
            "epsilon": (epsilon, *EPSILONS),
            "delta": (delta, *DELTAS),
        }
        for name, (value, low, high) in limits.items():
            if not isinstance(value, Tracer) and not low <= float(value) <= high:
                raise InputError(
                    f"noisy steps: {name} must be from {low:g} to {high:g}; "
                    f"it is {value}"
                )

    def apart(self) -> Number:
        """Returns D: how far apart two runs are at most before their noise."""
        powers = self.rho ** jnp.arange(self.count)
        return 2 * (self.radius * self.kept + self.rate * self.limit * powers.sum())

    def noise_at_end(self, sigma: Number) -> Number:
        """Returns the standard deviation of all noise in a last weight."""
        return sigma * jnp.sqrt(jnp.sum(self.rho ** (2 * jnp.arange(self.count))))


def log_delta(mu: Number, epsilon: Number) -> jax.Array:
    """Returns log delta(epsilon) of two Gaussians that are mu deviations apart."""
    below = log_ndtr(mu / 2 - epsilon / mu)
    above = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return below + jnp.log1p(-jnp.exp(jnp.minimum(above - below, 0.0)))


def separation(epsilon: Number, delta: Number) -> jax.Array:
    """Returns the largest mu that (epsilon, delta) allows, less 0.1 %.

    In float32, which suffices within `EPSILONS` and `DELTAS`; 0 where it finds none.
    """
    aim = jnp.log(jnp.asarray(delta, jnp.float32))

    def halve(_, ends):
        low, high = ends
        middle = jnp.sqrt(low * high)
        allowed = log_delta(middle, epsilon) <= aim
        return jnp.where(allowed, middle, low), jnp.where(allowed, high, middle)

    least = 1e-6
    found = jax.lax.fori_loop(0, 50, halve, (jnp.array(least), jnp.array(1e3)))[0]
    return jnp.where(found > least, 0.999 * found, 0.0)


def sigma_for(steps: Steps, epsilon: Number, delta: Number) -> jax.Array:
    """Returns the deviation of each step's noise for a certificate."""
    wanted = steps.apart() / separation(epsilon, delta)
    return jnp.asarray(wanted / steps.noise_at_end(1.0), jnp.float32)


def clipped(tree: Any, limit: Number) -> Any:
    """Scales a tree down to a norm of at most `limit`; what is no number becomes 0."""
    tree = jax.tree.map(lambda x: jnp.nan_to_num(x, posinf=0.0, neginf=0.0), tree)
    scale = jnp.minimum(1.0, limit / jnp.maximum(optax.tree.norm(tree), 1e-12))
    return jax.tree.map(lambda x: scale * x, tree)


def take(
    key: jax.Array,
    params: dict,
    fresh: Variables,
    problem: Problem,
    objective: Objective,
    steps: Steps,
    sigma: Number,
    batch_size: int,
) -> dict:
    """Takes all steps on retained data; returns the last weights.

    Args:
      params: where it starts.
      fresh: variables of which the weights are `a`. Every step begins with their batch
        statistics: those of weights on the way would tell of these.
    """
    anchor = fresh["params"]
    key_order, key_steps = jax.random.split(key)
    rows = shuffle(key_order, problem.retain, batch_size, steps.count)

    def step(away, scanned):
        number, rows = scanned
        keys = jax.random.split(jax.random.fold_in(key_steps, number), 3)
        batch = problem.batch(*rows, key=keys[0])
        params = jax.tree.map(jnp.add, anchor, away)

        def loss(params):
            return objective({**fresh, "params": params}, batch, keys[1])[0]

        gradient = clipped(jax.grad(loss)(params), steps.limit)
        noise = gaussian(keys[2], away)
        away = jax.tree.map(
            lambda d, g, n: steps.rho * d - steps.rate * g + sigma * n,
            away,
            gradient,
            noise,
        )
        return away, None

    away = clipped(jax.tree.map(jnp.subtract, params, anchor), steps.radius)
    numbers = jnp.arange(steps.count, dtype=jnp.int32)
    away, _ = jax.lax.scan(step, away, (numbers, rows))
    return jax.tree.map(jnp.add, anchor, away)
