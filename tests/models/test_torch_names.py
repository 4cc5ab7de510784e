"""torchvision's and timm's weights in the nets here: the same logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch_reference as reference

from unlearn import models
from unlearn.errors import InputError

BASIC, DEEP = (2, 2, 2, 2), (3, 4, 6, 3)
VIT = {"patch": 8, "width": 32, "depth": 2, "heads": 4, "mlp": 48}


def images_of(side, count=2):
    values = np.random.default_rng(1).normal(size=(count, 3, side, side))
    return values.astype(np.float32)


def logits_of(tmp_path, model, weights, images):
    """Logits of weights that went through a file; images are [B, C, H, W]."""
    safetensors.numpy.save_file(weights, tmp_path / "w.safetensors")
    inputs = jnp.asarray(images.transpose(0, 2, 3, 1))
    like = jax.eval_shape(model.init, jax.random.key(0), inputs)
    variables = models.load_weights(tmp_path / "w.safetensors", like)
    return jax.jit(model.apply)(variables, inputs)[0]


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name, blocks", [("resnet18", BASIC), ("resnet50", DEEP)])
def test_resnets_against_the_definition(tmp_path, name, blocks, prefix):
    deep = name == "resnet50"
    weights = reference.draw(reference.resnet_shapes(blocks, 4, 5, deep))
    model = models.create(name, 5, width=4, stem="large")
    images = images_of(64)
    expected = reference.resnet(weights, images, blocks)
    counts = {"bn1.num_batches_tracked": np.array(3)}
    given = {prefix + key: value for key, value in (weights | counts).items()}
    logits = logits_of(tmp_path, model, given, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, 0).max() > 1e-2  # the images make a difference


def to_timm(weights):
    """The names that timm has for torchvision's."""
    names = {
        "conv_proj.": "patch_embed.proj.",
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "encoder.layers.encoder_layer_": "blocks.",
        "encoder.ln.": "norm.",
        "heads.head.": "head.",
        ".ln_": ".norm",
        "self_attention.in_proj_": "attn.qkv.",
        "self_attention.out_proj": "attn.proj",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
    }
    renamed = {}
    for name, value in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = value
    return renamed


@pytest.mark.parametrize("of", ["torchvision", "timm"])
def test_vit_against_the_definition(tmp_path, of):
    shapes = reference.vit_shapes(8, 32, 2, 48, 16, 5)
    weights, images = reference.draw(shapes), images_of(32)
    expected = reference.vit(weights, images, 8, 2, 4)
    given = weights if of == "torchvision" else to_timm(weights)
    assert ("blocks.1.norm2.bias" in given) == (of == "timm")
    model = models.create("vit", 5, **VIT)
    logits = logits_of(tmp_path, model, given, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, 0).max() > 1e-2


@pytest.mark.slow
def test_what_does_not_fit_is_named(tmp_path):
    weights = reference.draw(reference.resnet_shapes(BASIC, 4, 7, False))
    images = images_of(64)

    def refused(model, weights, message):
        with pytest.raises(InputError, match=message) as caught:
            logits_of(tmp_path, model, weights, images)
        assert "\n" not in str(caught.value)

    model = models.create("resnet18", 5, width=4, stem="large")
    refused(model, weights, "its head has 7 classes and the model 5?")
    right = models.create("resnet18", 7, width=4, stem="large")
    refused(right, weights | {"extra.weight": weights["fc.bias"]}, "unexpected: extra")
    less = {k: v for k, v in weights.items() if k != "layer2.0.bn1.bias"}
    refused(right, less, "missing: params.BatchNorm_6.bias")
    few = {k: v for k, v in weights.items() if "layer2" not in k}
    refused(right, few, "missing: .*and .* more")
    small = models.create("resnet18", 7, width=4)
    refused(small, weights, r"Conv_0.kernel is \[7, 7, 3, 4\], the model has \[3, 3")
    group = models.create("resnet18", 7, width=4, stem="large", norm="group")
    refused(group, weights, "missing: params.GroupNorm_0.bias")


@pytest.mark.parametrize(
    "name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow), "vit"]
)
def test_against_torch(tmp_path, name):
    torch = pytest.importorskip("torch")
    nets = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    if name == "vit":
        net = nets.VisionTransformer(32, 8, 2, 4, 32, 48, num_classes=5)
        torch.nn.init.normal_(net.heads.head.weight)
        torch.nn.init.normal_(net.class_token)
        model, images = models.create("vit", 5, **VIT), images_of(32)
    else:
        net = getattr(nets, name)(num_classes=5)
        model, images = models.create(name, 5, stem="large"), images_of(64)
        net(torch.from_numpy(images_of(64, 8)))  # statistics that are not the first
    net.eval()
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    weights = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    logits = logits_of(tmp_path, model, weights, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, 0).max() > 1e-3


@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_against_timm(tmp_path, name):
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    if name == "vit":
        net = timm.models.vision_transformer.VisionTransformer(
            32, 8, num_classes=5, embed_dim=32, depth=2, num_heads=4, mlp_ratio=1.5
        )
        torch.nn.init.normal_(net.head.weight)
        model, images = models.create("vit", 5, **VIT), images_of(32)
    else:
        net = timm.create_model(name, num_classes=5)
        model, images = models.create(name, 5, stem="large"), images_of(64)
    net.eval()
    with torch.no_grad():
        expected = net(torch.from_numpy(images)).numpy()
    weights = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    logits = logits_of(tmp_path, model, weights, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
