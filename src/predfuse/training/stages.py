"""The stages of a run, each as what it adds to the common loop: optimisers, loss, pruning, what is trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from predfuse.models.layers import Cnn
from predfuse.predictor.layerwise import layerwise_loss
from predfuse.pruning.choose import cubic_sparsity
from predfuse.training.augment import Stream
from predfuse.training.config import PredictConfig, PruneConfig, VanillaConfig
from predfuse.training.fast.choose import use_kernels
from predfuse.training.learning_rate import parameter_groups
from predfuse.training.loop import Stage, Trainer
from predfuse.training.losses import Loss, cross_entropy, with_signs
from predfuse.training.pruning import Pruner, make_shifts_prunable

MOMENTUM = 0.9
"""Nesterov's, of all end-to-end training."""


def _sgd(model: Cnn, config: VanillaConfig) -> torch.optim.Optimizer:
    groups = [group for group in parameter_groups(model, config.weight_decay) if group["params"]]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM, nesterov=True)


def vanilla_stage(trainer: Trainer, model: Cnn, config: VanillaConfig) -> Stage:
    """Ordinary training."""
    use_kernels(model, trainer.device, pruned=False)
    steps = trainer.steps(config.epochs)
    return Stage("vanilla", Stream.VANILLA, steps, config, cross_entropy(config.label_smoothing), [_sgd(model, config)])


def prune_stage(trainer: Trainer, model: Cnn, config: PruneConfig, loss: Loss) -> Stage:
    """Magnitude pruning of weights and, if so configured, shifts along a cubic schedule, then recovery."""
    use_kernels(model, trainer.device)
    steps = trainer.steps(config.epochs)
    ramp = max(1, round(steps * config.ramp_fraction))
    if config.shift_sparsity:
        make_shifts_prunable(model)
    pruner = Pruner(model)
    kinds = ("pointwise", "depthwise", "shift", "outside", "window")
    finals = {f"{kind}_sparsity": float(getattr(config, f"{kind}_sparsity")) for kind in kinds}

    def after_step(step: int) -> None:
        if step <= ramp and (step % config.update_every_steps == 0 or step == ramp):
            pruner.prune(**{kind: cubic_sparsity(final, step / ramp) for kind, final in finals.items()})
        else:
            pruner.apply()

    return Stage(
        "pruned",
        Stream.PRUNED,
        steps,
        config,
        loss,
        [_sgd(model, config)],
        after_step=after_step,
        resumed=pruner.hold_zeros,
        facts=lambda: _sparsity(pruner),
    )


def _sparsity(pruner: Pruner) -> dict[str, float]:
    return {f"{kind}_sparsity": round(value, 4) for kind, value in pruner.sparsity().items()}


def _adam(model: Cnn, rate: float, config: PredictConfig) -> torch.optim.Optimizer:
    """Optimiser of the predictors' latents."""
    parameters = [(name, p) for name, p in model.named_parameters() if ".predictor." in name]
    weights = [p for name, p in parameters if name.endswith("_weight")]
    offsets = [p for name, p in parameters if name.endswith("_offset")]
    groups = [{"params": weights, "lr": rate}, {"params": offsets, "lr": rate * config.offset_rate_factor}]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def layerwise_stage(trainer: Trainer, model: Cnn, config: PredictConfig) -> Stage:
    """Every predictor learns its own block's true signs; the main network stands still."""
    use_kernels(model, trainer.device)
    optimizer = _adam(model, config.layerwise_learning_rate, config)

    def loss(model: Cnn, images: Tensor, labels: Tensor) -> Tensor:
        return layerwise_loss(model, images)

    return Stage(
        "layerwise",
        Stream.LAYERWISE,
        config.layerwise_steps,
        config,
        loss,
        [optimizer],
        set_mode=lambda model: model.eval(),
    )


def predict_stage(
    trainer: Trainer,
    model: Cnn,
    config: PredictConfig,
    tuning: Literal["joint", "frozen"],
    loss: Loss,
) -> Stage:
    """End-to-end tuning through the predicted masks.

    ``frozen`` trains the predictors and the project batch norms only (as published); ``joint`` everything, the pruned
    weights staying zero.
    """
    use_kernels(model, trainer.device)
    if config.gates == "signs":
        loss = with_signs(loss, config.sign_share, model)
        for _, block in model.bottlenecks():
            block.surrogate = False
    pruner = Pruner(model)
    if tuning == "frozen":
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(".predictor." in key or ".project_norm." in key)

    def set_mode(model: Cnn) -> None:
        model.train(tuning == "joint")
        if tuning == "frozen":
            for _, block in model.bottlenecks():
                block.project_norm.train()

    return Stage(
        f"predicted-{tuning}",
        Stream.JOINT if tuning == "joint" else Stream.FROZEN,
        trainer.steps(config.epochs),
        config,
        loss,
        [_sgd(model, config), _adam(model, config.predictor_learning_rate, config)],
        set_mode=set_mode,
        after_step=lambda step: pruner.apply(),
        facts=lambda: _sparsity(pruner),
    )
