"""Both builds of nginx."""

import pytest

from tests.rig.nginx import program, programs


@pytest.fixture(params=sorted(programs()))
def build(request: pytest.FixtureRequest) -> str:
    program(request.param)
    return str(request.param)
