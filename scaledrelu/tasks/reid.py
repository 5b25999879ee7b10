"""Person re-identification: an ID loss behind BNNeck, a triplet loss before it (recipes D.1).

Shapes: B images, D features, C identities.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.nn import functional as F

from scaledrelu.tasks.base import Progress, Task, TaskOutput, at_least_float32
from scaledrelu.tasks.reid_loss import DISTANCES, soft_margin_triplet

CLASSIFIER_STD = 0.001  # TRI model/make_model.py ``weights_init_classifier``


class Reid(Task):
    """A backbone trained to pull features together by identity and to classify them behind BNNeck.

    A batch brings ``images`` and ``targets`` (B x C, one-hot or smoothed, never mixed: the largest
    is the identity). Batch-hard means hard within the batch that the task is given, one group: a
    group must hold several identities with several images each.

    BNNeck is a BatchNorm with its bias frozen at 0; retrieval uses the features before it, which
    is what ``backbone`` gives.

    Args:
        backbone: (B, 3, H, W) -> (B, D), without classifier, with ``num_features``.
        num_classes: C; a uniform guess has an ID loss of ln C.
        id_weight: factor on the ID loss.
        triplet_weight: factor on the triplet loss; 0 = off.
        distances: those of the triplet loss: products (the official formula, in the run's
            precision) | differences (exact).

    Source: TRI model/make_model.py and loss/make_loss.py; recipes D.1.
    """

    headless = True
    judged = "loss/id"  # the triplet loss has no level of chance

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_classes: int,
        id_weight: float,
        triplet_weight: float,
        distances: str,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(backbone.num_features)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(backbone.num_features, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=CLASSIFIER_STD)
        self.chance_loss = math.log(num_classes)
        self.id_weight, self.triplet_weight = id_weight, triplet_weight
        self.measure = DISTANCES[distances]

    def forward(self, batch: Any, t: Progress) -> TaskOutput:
        """Return the weighted loss of one group, in float32 or better; logs hold its parts.

        Args:
            batch: a ``Batch`` with ``images`` and ``targets`` (B x C, unmixed), on the device.
            t: where training stands; not used.
        """
        features_BD = self.backbone(batch.images)
        logits_BC = at_least_float32(self.classifier(self.neck(features_BD)))
        ids_B = batch.targets.argmax(dim=-1)
        id_loss = F.cross_entropy(logits_BC, batch.targets)
        triplet_loss = soft_margin_triplet(features_BD, ids_B, self.measure)
        return TaskOutput(
            self.id_weight * id_loss + self.triplet_weight * triplet_loss,
            {
                "loss/id": id_loss,
                "loss/triplet": triplet_loss,
                "accuracy": (logits_BC.argmax(dim=-1) == ids_B).float().mean(),
            },
        )
