"""The resources of a study: a name that nothing has is an error with the name in it."""

import anyio
import pytest
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from server.api.app import Library
from server.api.tools import Tools
from server.study.study import Study


@pytest.mark.parametrize("number", ["x", "0", "7", "-1", "1.0", "²", "٣", "9" * 5000, str(2**63), ""])
def test_the_log_of_no_experiment_is_not_found(study: Study, number: str) -> None:
    library = Library(study, Tools(study))
    with pytest.raises(ResourceNotFoundError, match=f"^There is no experiment {number[:10]}") as refused:
        anyio.run(library.log, number)
    assert "history() lists them" in str(refused.value) and len(str(refused.value)) < 200
