"""DUCK: pull each forget embedding to the nearest centroid of another class.

    c_k = E_r[phi_0(x) | y = k],    t(x) = the nearest c_k with k != y, by cosine
    minimise  l_f E_f[1 - cos(phi(x), t(x))] + l_r E_r[CE(f(x) / T, y)]
    then      l_f / 10 E_f[1 - cos(phi(x), t(x))] + E_r[CE(f(x) / T, y)]

phi is the input of the head. Centroids and targets are the original's, in evaluation
mode, found once; a class without retained examples is never a target. An epoch is a
pass over f; each forget batch meets `retain_steps` retain batches, one step each.
Training ends with the first epoch after which the accuracy on f is at most
`target_accuracy`: 0.01 for a class; for random forgetting give the original's accuracy
on unseen data. Then come `last_epochs` with an optimiser of their own and larger retain
batches, in one forward pass with the forgotten ones: in random forgetting each forget
batch meets `last_retain_steps`; of a class, one forget batch meets a pass over r.

Cotogni et al., "DUCK: Distance-based Unlearning via Centroid Kinematics",
https://arxiv.org/abs/2312.02052: l_f 1, l_r 1.4, T 2, Adam 4e-4 to 1e-3. Of the
released code: the last two epochs (Adam 1e-4, cosine decay, batch 512), and the retain
batches, 40 on CIFAR-10 and 5 on CIFAR-100 and Tiny ImageNet, of which its loop runs one
more. Simplified: the rate of the first part is constant (released: half after
25 and after 40 epochs, more than it needs); centroids of all of r, where released code
takes its first 50 batches. That code also looks the targets up by the position in the
batch, which a shuffled loader changes every epoch, and in the last epochs by another
list; its cosine has 20 steps a forget batch, ours the steps that there are.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.optimizers import adam, schedule
from unlearn.problem import Problem, Variables
from unlearn.surgery import features
from unlearn.training import (
    batch_shape,
    cross_entropy,
    epoch,
    epoch_keys,
    in_order,
    predict_set,
    shuffle,
    start,
)


def unit(vectors: jax.Array) -> jax.Array:
    """Scales vectors [..., D] to length 1."""
    return vectors * jax.lax.rsqrt(jnp.sum(vectors**2, -1, keepdims=True) + 1e-8)


def class_centroids(
    variables: Variables, problem: Problem, *, batch_size: int = 256
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean retain embedding of each class, [K, D], and the sizes, [K]."""

    def one(row):
        inputs, labels, weights = problem.batch(*row)
        embeddings, _, _ = features(problem.model, variables, inputs)
        member = weights[:, None] * jax.nn.one_hot(
            labels, problem.num_classes, dtype=jnp.float32
        )
        return member.T @ embeddings, member.sum(0)

    sums, sizes = jax.lax.map(one, in_order(problem.retain, batch_size))
    sizes = sizes.sum(0)
    return sums.sum(0) / jnp.maximum(sizes, 1)[:, None], sizes


def nearest_others(
    variables: Variables,
    problem: Problem,
    centroids: jax.Array,
    sizes: jax.Array,
    *,
    batch_size: int = 256,
) -> jax.Array:
    """Returns the target class of each forget example: int32[F]; K if there is none."""

    def one(row):
        inputs, labels, _ = problem.batch(*row)
        embeddings, _, _ = features(problem.model, variables, inputs)
        distances = 1 - unit(embeddings) @ unit(centroids).T
        barred = (sizes == 0) | jax.nn.one_hot(labels, len(sizes), dtype=bool)
        distances = jnp.where(barred, jnp.inf, distances)
        nothing = jnp.full(
            (len(labels), 1), 3.0
        )  # farther than any, nearer than barred
        return jnp.argmin(jnp.concatenate([distances, nothing], 1), 1)

    classes = jax.lax.map(one, in_order(problem.forget, batch_size))
    return classes.reshape(-1)[: len(problem.forget)].astype(jnp.int32)


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2312.02052",
    differs="a constant learning rate; centroids of all of r; an example's own target; "
    "the cosine of the last epochs runs over the steps there are",
    search={"learning_rate": (1e-4, 1e-2), "target_accuracy": (0.0, 1.0)},
)
def duck(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 4e-4,
    epochs: int = 10,
    forget_weight: float = 1.0,
    retain_weight: float = 1.4,
    temperature: float = 2.0,
    target_accuracy: float = 0.01,
    retain_steps: int = 41,
    batch_size: int = 256,
    forget_batch_size: int = 256,
    weight_decay: float = 0.0,
    last_epochs: int = 2,
    last_learning_rate: float = 1e-4,
    last_batch_size: int = 512,
    last_retain_steps: int = 20,
) -> tuple[Variables, dict]:
    """Moves the forget embeddings until they are misclassified.

    Returns `info` with `loss` (float32[epochs, steps]) and `forget_accuracy`
    (float32[epochs]), both repeated after the end, the number of `epochs` that ran, the
    class aimed at for each forget example, `targets` (int32[F]), and of the last epochs
    `last_loss`, float32[last_epochs, steps].

    Raises:
      InputError: the model has no `activations`.
    """
    model = problem.model
    centroids, sizes = class_centroids(variables, problem)
    targets = nearest_others(variables, problem, centroids, sizes)
    directions = jnp.pad(unit(centroids), [(0, 1), (0, 0)])
    aimed = problem.replace(labels=problem.labels.at[problem.forget].set(targets))
    optimizer = adam(learning_rate, weight_decay=weight_decay)

    def distance(embeddings, forget):
        cosines = jnp.sum(unit(embeddings) * directions[forget.labels], -1)
        return jnp.mean(forget.weights * (1 - cosines))

    def error(logits, retain):
        losses = cross_entropy(logits / temperature, retain.labels)
        return jnp.mean(retain.weights * losses)

    def objective(variables, batches, key):
        forget, retain = batches
        key_forget, key_retain = jax.random.split(key)
        embeddings, _, variables = features(
            model, variables, forget.inputs, train=True, key=key_forget
        )
        logits, variables = model.apply(
            variables, retain.inputs, train=True, key=key_retain
        )
        pull, keep = distance(embeddings, forget), error(logits, retain)
        return forget_weight * pull + retain_weight * keep, variables

    def last_objective(variables, batches, key):
        forget, retain = batches
        both = jax.tree.map(
            lambda *inputs: jnp.concatenate(inputs), forget.inputs, retain.inputs
        )
        embeddings, logits, variables = features(
            model, variables, both, train=True, key=key
        )
        size = len(forget.labels)
        pull = distance(embeddings[:size], forget)
        keep = error(logits[size:], retain)
        return forget_weight / 10 * pull + keep, variables

    def train(key, state):
        key_forget, key_retain, key_steps = jax.random.split(key, 3)
        forget = shuffle(key_forget, problem.forget, forget_batch_size)
        forget = jax.tree.map(lambda x: jnp.repeat(x, retain_steps, axis=0), forget)
        steps = len(forget.indices)
        retain = shuffle(key_retain, problem.retain, batch_size, steps)
        state, losses = epoch(
            key_steps, state, aimed, (forget, retain), objective, optimizer
        )
        logits = predict_set(problem, state.variables, problem.forget)
        right = jnp.argmax(logits, -1) == problem.labels[problem.forget]
        accuracy = jnp.mean(right.astype(jnp.float32))
        return state, losses.astype(jnp.float32), accuracy

    def one(carry, key):
        ended = carry[-1] <= target_accuracy
        carry = jax.lax.cond(ended, lambda: carry, lambda: train(key, carry[0]))
        return carry, (*carry[1:], ended)

    state = start(variables, optimizer)
    steps, _ = batch_shape(len(problem.forget), forget_batch_size)
    carry = state, jnp.zeros(steps * retain_steps, jnp.float32), jnp.float32(jnp.inf)
    (state, _, _), (losses, accuracies, ended) = jax.lax.scan(
        one, carry, epoch_keys(key, epochs)
    )
    one_class = problem.forget_classes.size > 0
    passes, _ = batch_shape(len(problem.retain), last_batch_size)
    each = passes if one_class else min(last_retain_steps, passes)
    last_steps = each if one_class else each * steps
    rate = schedule("cosine", last_learning_rate, last_epochs * last_steps)
    last_optimizer = adam(rate, weight_decay=weight_decay)

    def settle(state, key):
        key_forget, key_retain, key_steps = jax.random.split(key, 3)
        forget = shuffle(key_forget, problem.forget, forget_batch_size)
        forget = jax.tree.map(
            lambda x: jnp.repeat(x, each, axis=0)[:last_steps], forget
        )
        retain = shuffle(key_retain, problem.retain, last_batch_size, last_steps)
        rows = forget, retain
        return epoch(key_steps, state, aimed, rows, last_objective, last_optimizer)

    state, last_losses = jax.lax.scan(
        settle,
        start(state.variables, last_optimizer),
        epoch_keys(jax.random.fold_in(key, epochs), last_epochs),
    )
    return state.variables, {
        "loss": losses,
        "last_loss": last_losses,
        "forget_accuracy": accuracies,
        "epochs": jnp.sum(~ended, dtype=jnp.int32),
        "targets": targets,
    }
