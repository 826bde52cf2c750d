"""Requests that no dataset can serve are explained."""

import pytest
from mibench_datasets.checks import check_request

from mibench.api import UsageError


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"identities": [0, 40]}, "identities 0 to 39, got \\[40\\]"),
        ({"identities": [-1]}, "got \\[-1\\]"),
        ({"identities": [0], "size": 0}, "got 0"),
        ({"identities": [0], "channels": 2}, "got 2"),
    ],
)
def test_impossible_requests_are_explained(request_, message):
    with pytest.raises(UsageError, match=message):
        check_request("orl", available=40, **request_)
