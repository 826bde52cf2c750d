"""The prior ``head-model`` keeps the contract of priors."""

from mibench_datasets.head_model.component import HeadModelPrior

from mibench.testing import PriorContract, TinyWorld


class TestHeadModel(PriorContract):
    component = HeadModelPrior


class TestFreeGreyHeadModel(PriorContract):
    component = HeadModelPrior
    settings = {"views": "free", "coarse_groups": 7}
    world = TinyWorld(channels=1)
