"""The endpoints that read runs, and the one that lets held jobs go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from metawsm.api.exchange import Answer, Request
from metawsm.api.operations import LIST_RUNS
from metawsm.api.parameters import read
from metawsm.bus.ports import Db
from metawsm.domain.errors import InvalidFields, NotFound


@frozen
class RunPages:
    """The endpoints. `run` executes one short query, `page` and `detail` read, `let_go` releases held jobs."""

    run: Callable[[Callable[[Db], Any]], Any]
    page: Callable[..., dict[str, Any]]
    detail: Callable[[Db, str], dict[str, Any] | None]
    let_go: Callable[[], int]

    def runs(self, request: Request) -> Answer:
        """GET /runs."""
        query = read(request, LIST_RUNS.parameters)
        wanted = (query["ticket"], query["state"], query["active"] == "true", query["limit"], query["cursor"])
        return Answer(200, self.run(lambda db: self.page(db, *wanted)))

    def one(self, request: Request) -> Answer:
        """GET /runs/{run_id}."""
        request.only()
        run_id = request.path["run_id"]
        found = self.run(lambda db: self.detail(db, run_id))
        if found is None:
            raise NotFound(f"there is no run {run_id[:100]}")
        return Answer(200, {"run": found})

    def release(self, request: Request) -> Answer:
        """POST /jobs/release."""
        if unknown := request.json_object():
            told = {name: ["is not known"] for name in unknown}
            raise InvalidFields(f"faulty field(s): {', '.join(unknown)}", fields=told)
        return Answer(200, {"released": self.let_go()})
