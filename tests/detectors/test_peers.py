"""The same numbers as pytorch-ood's, on one network and the same images."""

import pytest
import torch

import detectors
from tests.conftest import SmoothNet
from tests.detectors.peers import pytorch_ood
from tests.detectors.table import batches


class Maps(SmoothNet):
    """Shows its maps and what follows them."""

    def maps(self, x):
        return torch.tanh(self.conv(x))

    def rest(self, maps):
        return self.head(maps.flatten(1))


@pytest.fixture(scope="module")
def peers():
    return pytorch_ood()


@pytest.fixture(scope="module")
def images():
    g = torch.Generator().manual_seed(0)
    return torch.rand(400, 2, 4, 4, generator=g), torch.rand(60, 2, 4, 4, generator=g)


@pytest.fixture(scope="module")
def net(images):
    """It takes images for every class."""
    net = Maps().float()
    z = net(images[0])
    net.head.weight.data /= z.std(0)[:, None]
    net.head.bias.data = -(net(images[0]) - net.head.bias).mean(0)
    return net


def encoder(net):
    return lambda x: net.outputs(x).features


def split(net, images):
    """Features, logits, and labels: what the network says of four in five, another class for the rest."""
    z, h = net.outputs(images)
    y = z.argmax(1)
    return h, z, torch.where(torch.arange(len(y)) % 5 == 0, (y + 1) % 5, y)


def ours(name, net, images, y, **params):
    detector = detectors.create(name, net, **params)
    return detector.fit(batches(images, y, size=100), batches(images, y, size=100))


def test_she(peers, net, images):
    h, _, y = split(net, images[0])
    theirs = peers.SHE(encoder(net), net.head).fit_features(h, y).predict(images[1])
    torch.testing.assert_close(ours("she", net, images[0], y)(images[1]), -theirs)


@pytest.mark.parametrize("percentile", [30, 90])
def test_dice(peers, net, images, percentile):
    h, _, y = split(net, images[0])
    dice = peers.DICE(encoder(net), net.head.weight, net.head.bias, p=percentile / 100).fit_features(h, y)
    own = ours("dice", net, images[0], y, percentile=percentile)(images[1])
    torch.testing.assert_close(own, -dice.predict(images[1]))


def test_klm(peers, net, images):
    _, z, y = split(net, images[0])
    theirs = peers.KLMatching(net).fit_logits(z).predict_logits(net(images[1]))
    torch.testing.assert_close(ours("klm", net, images[0], y)(images[1]), -theirs, rtol=1e-4, atol=1e-5)


def test_nnguide(peers, net, images):
    h, _, y = split(net, images[0])
    theirs = peers.NNGuide(encoder(net), net.head, k=10).fit_features(h, y).predict(images[1])
    torch.testing.assert_close(ours("nnguide", net, images[0], y, neighbours=10, share=1.0)(images[1]), -theirs)


def test_rankfeat(peers, net, images):
    theirs = peers.RankFeat(net.maps, net.rest).predict(images[1])
    torch.testing.assert_close(ours("rankfeat", net, images[0], images[0])(images[1]), -theirs, rtol=1e-4, atol=1e-4)


def test_openmax(peers, net, images):
    """It fits on all images, not on those the network gets right alone, and by scipy's general search."""
    _, z, _ = split(net, images[0])
    y = z.argmax(1)
    peer = peers.OpenMax(net, tailsize=20, alpha=3, euclid_weight=1.0).fit_logits(z.double(), y)
    theirs = peer.predict_logits(net(images[1]).double())
    own = ours("openmax", net, images[0], y)(images[1]).double()
    torch.testing.assert_close(own, -theirs, rtol=0, atol=0.02)
    assert own.std() > 0.1
