"""Your own network and your own training loop: prepare, tune, compile, simulate. See docs/own_network.md."""

import torch
from torch import nn
from torch.nn import functional as F

import predfuse
from predfuse import data


class Block(nn.Module):
    def __init__(self, channels, middle, outputs, stride):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.filter = nn.Sequential(
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False), nn.BatchNorm2d(middle)
        )
        self.project = nn.Sequential(nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return self.project(F.relu(self.filter(F.relu(self.expand(x)))))


def train(model, images, labels, epochs, rate):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    return model.eval()


torch.manual_seed(0)
shipped = data.load("fashion-mnist-1000", "test")  # 1,000 images: the first 800 to train on, the rest to test
images, labels = torch.from_numpy(shipped.images) / 255 - 0.5, torch.from_numpy(shipped.labels)
stem = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), Block(16, 96, 24, 2), Block(24, 144, 24, 1)]
model = nn.Sequential(*stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))
train(model, images[:800], labels[:800], epochs=12, rate=2e-3)

print(predfuse.prepare(model, predfuse.PrepareConfig(), images[:64]))  # predictors in place
train(model, images[:800], labels[:800], epochs=4, rate=5e-4)  # the same loop tunes them
program = predfuse.compile(model, images[:64], name="own")  # integers, fused blocks
result = predfuse.simulate(program, "archon-ics21")  # cycles and energy of one image

with torch.no_grad():
    predictions = model(images[800:]).argmax(1)
agreement = (torch.from_numpy(predfuse.run(program, images[800:].numpy()).predictions) == predictions).float().mean()
print(f"accuracy {(predictions == labels[800:]).float().mean():.1%}, integers agree on {agreement:.1%}")
print(f"{result.accelerator}: {result.total_cycles:,} cycles, {result.total_energy_uj:.2f} uJ an image")
