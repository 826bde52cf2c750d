"""The prior ``head-model`` keeps the contract of priors."""

from typing import ClassVar

from mibench_datasets.head_model.component import HeadModelPrior

from mibench.testing import PriorContract, TinyWorld


class TestHeadModel(PriorContract):
    component = HeadModelPrior


class TestFreeGreyHeadModel(PriorContract):
    component = HeadModelPrior
    settings: ClassVar = {"views": "free", "coarse_groups": 7}
    world = TinyWorld(channels=1)
