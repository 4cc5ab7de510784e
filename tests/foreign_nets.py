"""A net with batch normalisation and dropout in each library, made when asked for.

Each `*_net()` returns `(model, forward)`: what `from_*` makes, and the library's own
forward pass `forward(variables, images, train, key)` -> (logits, statistics before,
statistics after), with the variables put back by the library's own means.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import models


@functools.cache
def nnx_net():
    from flax import nnx

    listed = getattr(nnx, "List", list)  # a list before flax 0.12

    def put(variable, value):
        new = hasattr(variable, "set_value")
        variable.set_value(value) if new else setattr(variable, "value", value)

    def read(variable):
        return variable[...]

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, momentum=0.8, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.dense = listed([nnx.Linear(64, 8, rngs=rngs)])
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, images):
            hidden = nnx.relu(self.norm(self.conv(images))).reshape(len(images), -1)
            hidden = nnx.relu(self.dense[0](self.drop(hidden)))
            return self.head(hidden)

    def forward(variables, images, train, key):
        params, stats = variables["params"], variables["batch_stats"]["norm"]
        net = Net(nnx.Rngs(0))
        net.train() if train else net.eval()
        for layer, own in (
            (net.conv, params["conv"]),
            (net.dense[0], params["dense"]["0"]),
            (net.head, params["head"]),
        ):
            put(layer.kernel, own["kernel"])
            put(layer.bias, own["bias"])
        put(net.norm.scale, params["norm"]["scale"])
        put(net.norm.bias, params["norm"]["bias"])
        put(net.norm.mean, stats["mean"])
        put(net.norm.var, stats["var"])
        return net(images), read(net.norm.mean)

    return models.from_nnx(lambda rngs: Net(rngs)), forward, Net


@functools.cache
def equinox_net():
    import equinox as eqx

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.BatchNorm
        drop: eqx.nn.Dropout
        dense: list
        head: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key, 3)
            self.conv = eqx.nn.Conv2d(1, 4, 3, padding=1, key=keys[0])
            self.norm = eqx.nn.BatchNorm(4, "batch", momentum=0.8, mode="batch")
            self.drop = eqx.nn.Dropout(0.5)
            self.dense = [eqx.nn.Linear(64, 8, key=keys[1])]
            self.head = eqx.nn.Linear(8, 3, key=keys[2])

        def __call__(self, image, state, *, key=None):
            hidden, state = self.norm(self.conv(image), state)
            hidden = self.drop(jax.nn.relu(hidden).reshape(-1), key=key)
            return self.head(jax.nn.relu(self.dense[0](hidden))), state

    def forward(variables, images, train, key):
        params = variables["params"]
        net, state = eqx.nn.make_with_state(Net)(jax.random.key(9))
        places = [lambda m: m.conv, lambda m: m.dense[0], lambda m: m.head]
        owns = params["conv"], params["dense"]["0"], params["head"]
        for place, own in zip(places, owns, strict=True):
            kernel, bias = own["kernel"], own["bias"]
            turned = kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
            bias = bias.reshape(place(net).bias.shape)
            net = eqx.tree_at(lambda m, p=place: p(m).weight, net, turned)
            net = eqx.tree_at(lambda m, p=place: p(m).bias, net, bias)
        net = eqx.tree_at(lambda m: m.norm.weight, net, params["norm"]["scale"])
        net = eqx.tree_at(lambda m: m.norm.bias, net, params["norm"]["bias"])
        stats = variables["batch_stats"]
        state = state.set(net.norm.batch_counter, stats["0"])
        state = state.set(net.norm.batch_state_index, (stats["1"], stats["2"]))
        net = eqx.nn.inference_mode(net, not train)
        keys = jax.random.split(key, len(images)) if key is not None else None
        logits, state = jax.vmap(
            lambda x, k: net(x, state, key=k),
            (0, None if keys is None else 0),
            (0, None),
            axis_name="batch",
        )(images.transpose(0, 3, 1, 2), keys)
        return logits, state.get(net.norm.batch_state_index)[0]

    model = models.from_equinox(eqx.nn.make_with_state(Net), channels_first=True)
    return model, forward, Net


@functools.cache
def haiku_net():
    import haiku as hk

    def net(images, is_training):
        hidden = hk.Conv2D(4, 3, name="conv")(images)
        norm = hk.BatchNorm(True, True, 0.8, name="norm")
        hidden = jax.nn.relu(norm(hidden, is_training)).reshape(len(images), -1)
        if is_training:
            hidden = hk.dropout(hk.next_rng_key(), 0.5, hidden)
        hidden = jax.nn.relu(hk.Linear(8, name="dense")(hidden))
        return hk.Linear(3, name="head")(hidden)

    transformed = hk.transform_with_state(net)

    def forward(variables, images, train, key):
        params = {
            module: {
                "w" if name == "kernel" else "b" if name == "bias" else name: value
                for name, value in own.items()
            }
            for module, own in variables["params"].items()
        }
        logits, state = transformed.apply(
            params, variables["batch_stats"], key, images, train
        )
        return logits, state["norm/~/mean_ema"]["average"]

    return models.from_haiku(net, train="is_training"), forward, net


NETS = {"nnx": nnx_net, "equinox": equinox_net, "haiku": haiku_net}


def images_of(count=6, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, 4, 4, 1))
    return jnp.asarray(values, jnp.float32)
