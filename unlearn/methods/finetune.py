"""Fine-tuning: continue training on the retain set.

    minimise  E_r[CE(f(x), y)]    from the original weights

The model is left to forget by itself (catastrophic forgetting); with a small learning
rate it hardly does. Constants: 10 epochs of SGD 0.01 in Jia et al., "Model Sparsity Can
Simplify Machine Unlearning", NeurIPS 2023, https://arxiv.org/abs/2304.04934; the cosine
decay is that of the NeurIPS 2023 challenge's starting kit (5 epochs from 0.1).
"""

from unlearn.training import batch_shape, classification, fit, schedule, sgd


def finetune(
    key,
    variables,
    problem,
    *,
    learning_rate=0.01,
    epochs=10,
    batch_size=256,
    momentum=0.9,
    weight_decay=5e-4,
    decay="cosine",
):
    """Trains on the retain set; `info["loss"]` is float32[epochs, steps].

    `decay` is the schedule of the learning rate: constant, cosine or step.
    """
    steps, _ = batch_shape(len(problem.retain), batch_size)
    rate = schedule(decay, learning_rate, epochs * steps)
    optimizer = sgd(rate, momentum=momentum, weight_decay=weight_decay)
    variables, losses = fit(
        key,
        variables,
        problem,
        problem.retain,
        classification(problem.model),
        optimizer,
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
