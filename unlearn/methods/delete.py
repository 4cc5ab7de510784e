"""DELETE: distil the original without the true class into the forget set.

    p(x) = softmax(f_0(x) with the logit of y at -infinity)
    minimise  E_f[KL(p(x) || softmax f(x))]    from the original weights

The masked target has no mass on the true class (that is what forgets) and keeps the
ratios between all others (that is what retains, with no retain data at all). f_0 is the
original, in evaluation mode, never updated. Zhou et al., "Decoupled Distillation to
Erase", CVPR 2025, https://arxiv.org/abs/2503.23751: 20 epochs of SGD with momentum 0.9
at batch 128; 1e-4 for ResNet-18 on CIFAR-10, 5e-5 on larger data and for transformers.
Other classes that are forgotten as a whole are masked like y. There the batch
statistics follow the forget batches unless `disable_bn` is set; here they are frozen
unless `statistics="batch"`: batches of one forgotten example cost a quarter of the
retained accuracy on the digits, and a class went from 23 to 0 % with frozen ones. Not
that frozen is always better: of random digits batch statistics are gentler at the same
rate (forget and retain accuracy 100 and 99.9 %, frozen 85.2 and 90.6).
"""

import jax
import jax.numpy as jnp

from unlearn.methods.labels import bar
from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.methods.taught import taught
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import fit, kl_divergence


@method(
    needs=("forget", "forget_classes"),
    paper="arXiv:2503.23751",
    differs="frozen batch statistics (theirs: statistics=batch); all classes that are "
    "forgotten as a whole are masked",
    search={"learning_rate": (1e-5, 1e-2)},
)
def delete(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-4,
    epochs: int = 20,
    batch_size: int = 128,
    momentum: float = 0.9,
    statistics: str = "frozen",
) -> tuple[Variables, dict]:
    """Distils on the forget set; `info["loss"]` is float32[epochs, steps].

    `statistics`: see `statistics.by_batch`.
    """
    model, train = problem.model, by_batch(statistics)

    def distill(variables, batch, key):
        inputs, answers = batch.inputs
        wanted = bar(answers, batch.labels, problem)
        logits, variables = model.apply(variables, inputs, train=train, key=key)
        loss = jnp.mean(batch.weights * kl_divergence(wanted, logits))
        return loss, variables

    variables, losses = fit(
        key,
        variables,
        taught(problem, variables, problem.forget),
        problem.forget,
        distill,
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
