"""A net, its backward pass and PyTorch's optimisers in NumPy, in double precision.

What the released loops are re-expressed with. Nothing here is the package's.
"""

import flax.linen as nn
import numpy as np


class Linen(nn.Module):
    """What `Net` is, as the methods get it.

    No bias before the normalisation: its gradient would be rounding noise, which Adam
    makes as large as any other.
    """

    norm: bool = True

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(8, use_bias=False, name="first")(x.reshape(len(x), -1))
        if self.norm:
            x = nn.BatchNorm(not train, momentum=0.9, name="norm")(x)
        return nn.Dense(3, name="head")(nn.relu(x))


class Net:
    """Dense, batch norm (or none), ReLU, dense; `training` is PyTorch's flag."""

    def __init__(self, variables):
        self.weights = {
            f"{layer}.{name}": np.array(x, np.float64)
            for layer, leaves in variables["params"].items()
            for name, x in leaves.items()
        }
        self.norm, self.training = "norm.scale" in self.weights, False
        if self.norm:
            running = variables["batch_stats"]["norm"]
            self.mean, self.var = (np.array(running[k], float) for k in ("mean", "var"))

    def __call__(self, x):
        """Logits; in training mode the running statistics move."""
        w = self.weights
        self.x = np.asarray(x, np.float64).reshape(len(x), -1)
        hidden = self.x @ w["first.kernel"]
        if self.norm:
            mean, var = self.mean, self.var
            if self.training:
                mean, var = hidden.mean(0), hidden.var(0)
                self.mean = 0.9 * self.mean + 0.1 * mean
                self.var = 0.9 * self.var + 0.1 * var
            self.deviation = np.sqrt(var + 1e-5)
            self.standard = (hidden - mean) / self.deviation
            hidden = self.standard * w["norm.scale"] + w["norm.bias"]
        self.hidden = np.maximum(hidden, 0)
        return self.hidden @ w["head.kernel"] + w["head.bias"]

    def backward(self, wanted):
        """Gradients by name of the last call, for the gradient of its logits."""
        w = self.weights
        found = {"head.kernel": self.hidden.T @ wanted, "head.bias": wanted.sum(0)}
        back = wanted @ w["head.kernel"].T * (self.hidden > 0)
        if self.norm:
            found["norm.scale"] = (back * self.standard).sum(0)
            found["norm.bias"] = back.sum(0)
            back = back * w["norm.scale"]
            if self.training:
                back = back - back.mean(0)
                # the mean of a product with `standard` is not moved by the line above
                back = back - self.standard * (back * self.standard).mean(0)
            back = back / self.deviation
        self.of_inputs = back @ w["first.kernel"].T
        return found | {"first.kernel": self.x.T @ back}

    def variables(self):
        """The tree that the methods return."""
        layers = sorted({name.split(".")[0] for name in self.weights})
        params = {
            layer: {
                name.split(".")[1]: x
                for name, x in sorted(self.weights.items())
                if name.split(".")[0] == layer
            }
            for layer in layers
        }
        if not self.norm:
            return {"params": params}
        statistics = {"norm": {"mean": self.mean, "var": self.var}}
        return {"params": params, "batch_stats": statistics}


class SGD:
    """torch.optim.SGD: L2, then momentum whose buffer starts as the first gradient."""

    def __init__(self, net, rate, momentum=0.0, weight_decay=0.0):
        self.net, self.rate = net, rate
        self.momentum, self.weight_decay, self.buffers = momentum, weight_decay, {}

    def step(self, gradients):
        for name, g in gradients.items():
            g = g + self.weight_decay * self.net.weights[name]
            if self.momentum:
                before = self.buffers.get(name)
                g = g if before is None else self.momentum * before + g
                self.buffers[name] = g
            self.net.weights[name] = self.net.weights[name] - self.rate * g


class Adam:
    """torch.optim.Adam with its own betas and epsilon."""

    def __init__(self, net, rate):
        self.net, self.rate, self.count, self.moments = net, rate, 0, {}

    def step(self, gradients):
        self.count += 1
        for name, g in gradients.items():
            first, second = self.moments.get(name, (0.0, 0.0))
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            self.moments[name] = first, second
            size = np.sqrt(second) / np.sqrt(1 - 0.999**self.count) + 1e-8
            moved = self.rate / (1 - 0.9**self.count) * first / size
            self.net.weights[name] = self.net.weights[name] - moved


def softmax(logits):
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def cross_entropy_gradient(logits, labels):
    """Of nn.CrossEntropyLoss(): the mean over the batch."""
    return (softmax(logits) - np.eye(logits.shape[1])[labels]) / len(labels)
