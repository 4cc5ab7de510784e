"""Released loops that relabel: SalUn's repository and Boundary Unlearning's.

OPTML-Group/Unlearn-Saliency, Classification: generate_mask.py, unlearn/RL.py (CIFAR-10
branch, with the restored weights of its later release), unlearn/impl.py.
TY-LEE-KR/Boundary-Unlearning-Code: boundary_unlearning.py, adv_generator.py.
Re-expressed; loaders are lists of (x, labels), an entry a batch.
"""

import numpy as np
from released.torch_like import SGD, Net, cross_entropy_gradient


def saliency_mask(variables, forget, fraction):
    """By name: 1 for the weights whose summed gradient is among the largest."""
    net, total = Net(variables), {}
    for x, y in forget:
        for name, g in net.backward(-cross_entropy_gradient(net(x), y)).items():
            total[name] = total.get(name, 0) + g
    sizes = np.concatenate([np.abs(g).ravel() for g in total.values()])
    ranks = np.argsort(np.argsort(-sizes))
    chosen, mask = ranks < int(len(sizes) * fraction), {}
    for name, g in total.items():
        mask[name], chosen = chosen[: g.size].reshape(g.shape), chosen[g.size :]
    return mask


def random_labels(variables, epochs, rate, momentum=0.9, weight_decay=5e-4, mask=None):
    """An epoch is (forget batches with their random labels, retain batches)."""
    net = Net(variables)
    net.training = True
    original = dict(net.weights)
    optimizer = SGD(net, rate, momentum, weight_decay)
    for forget, retain in epochs:
        for x, y in [*forget, *retain]:
            gradients = net.backward(cross_entropy_gradient(net(x), y))
            if mask:
                gradients = {k: g * mask[k] for k, g in gradients.items()}
            optimizer.step(gradients)
            if mask:
                for k, held in mask.items():
                    net.weights[k] = np.where(held, net.weights[k], original[k])
                    optimizer.buffers[k] = optimizer.buffers[k] * held
    return net.variables()


def adversarial(net, x, y, bound, mean, std):
    """One step of FGSM in pixels, in [0, 1], rounded to 1 / 255."""
    net.backward(cross_entropy_gradient(net(x), y))
    pixels = x * std + mean + bound * np.sign(net.of_inputs).reshape(x.shape)
    return (np.round(np.clip(pixels, 0, 1) * 255) / 255 - mean) / std


def boundary_shrink(variables, epochs, rate, bound, mean, std, momentum=0.9):
    """Returns the variables and the labels of each batch, in order."""
    net, frozen, found = Net(variables), Net(variables), []
    optimizer = SGD(net, rate, momentum)
    for forget in epochs:
        for x, y in forget:
            moved = adversarial(frozen, x, y, bound, mean, std)
            found.append(frozen(moved).argmax(1))
            net.training = True
            optimizer.step(net.backward(cross_entropy_gradient(net(x), found[-1])))
    return net.variables(), found
