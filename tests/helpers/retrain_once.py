"""Runs the retraining flow once in the current folder, as a worker's process does, and prints how it ended as JSON."""

import json
import sys
from pathlib import Path

from flows.support.environment import prepare


def main(parameters: str) -> None:
    prepare(Path.cwd())
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    from flows.retraining import retraining
    from flows.support.flow_run import flush_logs_and_events
    from infra.automations import LIMITS

    with get_client(sync_client=True) as client:
        for name in LIMITS:  # a real server takes a killed run's slot back by itself, after five minutes
            client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
    state = retraining(**json.loads(parameters), return_state=True)
    flush_logs_and_events()
    print(json.dumps({"name": state.name, "type": state.type.value, "message": state.message}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
