"""PyTorch's side of the benchmark: the same nets, trained and evaluated eagerly.

PyTorch is optional: without it every function that returns candidates returns none.
"""

import functools
import importlib.util
import os
from collections.abc import Callable, Iterable

import jax.numpy as jnp
import numpy as np

from ._timing import Candidate

CLASSES = 10
EPOCH_TARGETS = {128: 1.15, 256: 1.4}  # batch size: against eager with DataLoader


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def settings() -> str:
    """Returns what PyTorch runs with, in a sentence."""
    if not has_torch():
        return "PyTorch is not installed: no peer rows."
    import torch

    tuned = ("LD_PRELOAD", "MALLOC_", "OMP_")
    chosen = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(tuned)]
    return (
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, allocator "
        f"and OpenMP settings: {' '.join(chosen) or 'the default'}."
    )


# Nets and data


def make_cnn(widths, pool: str, image_size: int, channels: int = 1):
    """Returns our `cnn` of the same widths and pooling."""
    from torch import nn

    layers = []
    for depth, width in enumerate(widths, 1):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
        if pool == "each" or depth == len(widths):
            layers.append(nn.MaxPool2d(2))
            image_size //= 2
    layers += [nn.Flatten(), nn.Linear(channels * image_size**2, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, CLASSES))


def make_poolnet(widths, channels: int = 3):
    """Returns our `poolnet` of the same widths."""
    from torch import nn

    class Stage(nn.Module):
        def __init__(self, channels, width):
            super().__init__()

            def layer(channels, *pool):
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                return nn.Sequential(conv, *pool, nn.BatchNorm2d(width), nn.ReLU())

            self.first = layer(channels, nn.MaxPool2d(2))
            self.second = layer(width)

        def forward(self, x):
            x = self.first(x)
            return x + self.second(x)

    stages = []
    for width in widths:
        stages.append(Stage(channels, width))
        channels = width
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    return nn.Sequential(*stages, *head)


def make_resnet18(width: int):
    """Returns the net of `models.create("resnet18", width=width)`."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels, features, stride):
            super().__init__()

            def conv(inputs, size, stride):
                layer = nn.Conv2d(
                    inputs, features, size, stride, padding=size // 2, bias=False
                )
                return [layer, nn.BatchNorm2d(features)]

            self.body = nn.Sequential(
                *conv(channels, 3, stride), nn.ReLU(), *conv(features, 3, 1)
            )
            same = channels == features
            self.shortcut = nn.Sequential(*([] if same else conv(channels, 1, stride)))

        def forward(self, x):
            return nn.functional.relu(self.body(x) + self.shortcut(x))

    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(4):
        for stride in (2 if stage else 1, 1):
            layers.append(Block(channels, width * 2**stage, stride))
            channels = width * 2**stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]
    return nn.Sequential(*layers)


def to_torch(problem):
    """Returns the standardised images, float32[N, C, H, W], and labels, int64[N]."""
    import torch

    images = np.array(problem.inputs(jnp.arange(len(problem.labels))))
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(np.array(problem.labels)).long()


def make_epoch(net, batches: Callable, *, channels_last: bool = False):
    """Returns a function that trains an epoch: SGD over what `batches()` yields."""
    import torch

    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    net.train()
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
    )
    loss_fn = torch.nn.CrossEntropyLoss()

    def run():
        for images, labels in batches():
            if channels_last:
                images = images.to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            loss_fn(net(images), labels).backward()
            optimizer.step()

    return run


def shuffled_batches(images, labels, batch_size: int):
    """Yields shuffled batches of tensors in memory."""
    import torch

    for chosen in torch.randperm(len(labels)).split(batch_size):
        yield images[chosen], labels[chosen]


# Candidates


def training_peers(problem, options: dict, batch_size: int) -> list[Candidate]:
    """An epoch of the CNN: batches of a DataLoader, and of tensors in memory."""
    if not has_torch():
        return []
    from torch.utils.data import DataLoader, TensorDataset

    images, labels = to_torch(problem)
    loader = DataLoader(
        TensorDataset(images, labels), batch_size=batch_size, shuffle=True
    )
    sources: dict[str, Callable[[], Iterable]] = {
        "DataLoader": functools.partial(iter, loader),
        "tensors in memory": functools.partial(
            shuffled_batches, images, labels, batch_size
        ),
    }
    targets = {"DataLoader": EPOCH_TARGETS.get(batch_size)}
    return [
        Candidate(
            f"PyTorch eager, {source}",
            make_epoch(make_cnn(**options, image_size=28), batches),
            len(labels),
            target=targets.get(source),
        )
        for source, batches in sources.items()
    ]


def preset_peers(
    problem, net: str, widths, batch_size: int, target: float
) -> list[Candidate]:
    """An epoch of a preset's net over tensors in memory."""
    if not has_torch():
        return []
    images, labels = to_torch(problem)
    channels, side = images.shape[1:3]
    made = (
        make_poolnet(widths, channels)
        if net == "poolnet"
        else make_cnn(widths, "each", side, channels)
    )
    batches = functools.partial(shuffled_batches, images, labels, batch_size)
    name = "PyTorch eager, tensors in memory"
    return [Candidate(name, make_epoch(made, batches), len(labels), target=target)]


def resnet_peers(problem, width: int, batch_size: int) -> list[Candidate]:
    """Steps of ResNet-18 in both memory layouts."""
    if not has_torch():
        return []
    images, labels = to_torch(problem)
    candidates = []
    for name, channels_last in (("NCHW", False), ("channels_last", True)):
        run_epoch = make_epoch(
            make_resnet18(width),
            lambda: shuffled_batches(images, labels, batch_size),
            channels_last=channels_last,
        )
        target = None if channels_last else 1.1
        name = f"PyTorch eager, {name}"
        candidates.append(Candidate(name, run_epoch, len(labels), target=target))
    return candidates


def evaluation_peers(problem, options: dict, batch_size: int) -> list[Candidate]:
    """The loss of every example in both memory layouts."""
    if not has_torch():
        return []
    import torch

    images, labels = to_torch(problem)
    candidates = []
    for name, layout, target in (
        ("NCHW", torch.contiguous_format, 2.5),
        ("channels_last", torch.channels_last, None),
    ):
        net = make_cnn(**options, image_size=28).eval().to(memory_format=layout)

        @torch.inference_mode()
        def run(net=net, layout=layout):
            for x, y in zip(
                images.split(batch_size), labels.split(batch_size), strict=True
            ):
                x = x.to(memory_format=layout)
                torch.nn.functional.cross_entropy(net(x), y, reduction="none")

        name = f"PyTorch, {name}"
        candidates.append(Candidate(name, run, len(labels), target=target))
    return candidates


def fisher_peers(problem, options: dict, few: int) -> list[Candidate]:
    """The per-example Fisher diagonal of `few` examples, one by one and vectorised."""
    if not has_torch():
        return []
    import torch
    from torch.func import functional_call, grad, vmap

    images, labels = (part[:few] for part in to_torch(problem))
    net = make_cnn(**options, image_size=28).eval()
    params = dict(net.named_parameters())
    loss_fn = torch.nn.CrossEntropyLoss()

    def one_by_one():
        total = [torch.zeros_like(p) for p in params.values()]
        for i in range(few):
            net.zero_grad()
            loss_fn(net(images[i : i + 1]), labels[i : i + 1]).backward()
            for t, p in zip(total, params.values(), strict=True):
                t += p.grad**2

    def loss(params, image, label):
        return loss_fn(functional_call(net, params, image[None]), label[None])

    gradients = vmap(grad(loss), (None, 0, 0))
    detached = {name: p.detach() for name, p in params.items()}

    def vmapped():
        total = {name: torch.zeros_like(p) for name, p in detached.items()}
        for x, y in zip(images.split(64), labels.split(64), strict=True):
            for name, g in gradients(detached, x, y).items():
                total[name] += (g**2).sum(0)

    note = f"{few} examples"
    return [
        Candidate(f"PyTorch, batch size 1, {note}", one_by_one, few, target=7.0),
        Candidate(f"torch.func.vmap, {note}", vmapped, few, target=5.0),
    ]


def models_peers(
    problem, options: dict, batch_size: int, epochs: int
) -> list[Candidate]:
    """One net of many, trained one after another."""
    if not has_torch():
        return []
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = (part.to(device) for part in to_torch(problem))

    def one():
        net = make_cnn(**options, image_size=28).to(device)
        epoch = make_epoch(net, lambda: shuffled_batches(images, labels, batch_size))
        for _ in range(epochs):
            epoch()
        return next(net.parameters()).cpu()

    target = 10.0 if device == "cuda" else None
    name = f"PyTorch eager, one after another, {device}"
    return [Candidate(name, one, 1, target=target)]
