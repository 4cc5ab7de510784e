"""Released loops of NegGrad, NegGrad+ and of selective synaptic dampening.

meghdadk/SCRUB: thirdparty/repdistiller/helper/loops.py (train_negrad) and the loop of
small_scale_unlearning.ipynb (run_neggrad_epoch). if-loops/selective-synaptic-dampening:
src/ssd.py. OPTML-Group/Unlearn-Saliency: unlearn/GA.py. Re-expressed; loaders are lists
of (x, labels), an entry a batch.
"""

import itertools

import numpy as np
from released.torch_like import SGD, Net, cross_entropy_gradient


def gradient_ascent(variables, epochs, rate, momentum=0.9, weight_decay=5e-4):
    """An epoch is its forget batches."""
    net = Net(variables)
    net.training = True
    optimizer = SGD(net, rate, momentum, weight_decay)
    for forget in epochs:
        for x, y in forget:
            optimizer.step(net.backward(-cross_entropy_gradient(net(x), y)))
    return net.variables()


def neggrad_plus(variables, epochs, rate, alpha, notebook_decay=None):
    """An epoch is (retain batches, forget batches), the latter again and again.

    With `notebook_decay` as in the notebook: in evaluation mode, and pulled to the
    original.
    """
    net = Net(variables)
    original = dict(net.weights)
    net.training = notebook_decay is None
    optimizer = SGD(net, rate)
    for retain, forget in epochs:
        for (x, y), (x_f, y_f) in zip(retain, itertools.cycle(forget), strict=False):
            down = net.backward(cross_entropy_gradient(net(x), y))
            up = net.backward(cross_entropy_gradient(net(x_f), y_f))
            pull = {k: w - original[k] for k, w in net.weights.items()}
            decay = notebook_decay or 0.0
            optimizer.step(
                {
                    k: alpha * (down[k] + decay * pull[k]) - (1 - alpha) * up[k]
                    for k in down
                }
            )
    return net.variables()


def importances(net, loader):
    """The mean over batches of the squared gradient of a batch's mean loss."""
    total = {}
    for x, y in loader:
        for name, g in net.backward(cross_entropy_gradient(net(x), y)).items():
            total[name] = total.get(name, 0) + g**2
    return {name: t / len(loader) for name, t in total.items()}


def ssd(variables, forget, everything, alpha, dampening):
    net = Net(variables)
    of_forget, of_all = importances(net, forget), importances(net, everything)
    for name, w in net.weights.items():
        chosen = of_forget[name] > alpha * of_all[name]
        factor = np.ones_like(w)
        factor[chosen] = dampening * of_all[name][chosen] / of_forget[name][chosen]
        net.weights[name] = w * np.minimum(factor, 1)
    return net.variables()
