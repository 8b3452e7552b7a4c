"""Whatever ``/openapi.json`` allows, and what it does not: no request makes the server fail."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from lit_listener.judging.server.app import create_app
from tests.judging.server.served import ask, serving

pytestmark = pytest.mark.slow
_EXAMPLES = 25


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_it_fail(judge, mode):
    asked = []
    with serving(create_app(judge)) as port:
        for found in schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json").get_all_operations():
            operation = found.ok()
            if mode is GenerationMode.NEGATIVE and operation.method == "get":
                continue  # nothing can be wrong in it

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=_EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
            def ask_anything(case):
                answer = case.call_and_validate(checks=[not_a_server_error])
                asked.append((case.path, answer.status_code))

            ask_anything()
        assert ask(port, "GET", "/health").json["status"] == "ok"
    judging = [status for path, status in asked if path.startswith("/v1/")]
    assert len(judging) >= _EXAMPLES
    assert set(judging) <= {200, 400, 405, 415, 422}
