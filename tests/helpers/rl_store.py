"""Registering a package as it is, without the training and evaluation that `cac register` asks for."""

from pathlib import Path

from cac.registry.candidate import LOADER
from cac.registry.versions import REGISTRATION_TAG
from cac.tracking.mlflow_runs import experiment_id

NAME = "cac-reward-model"


def register_package(client, package: Path, state: str) -> None:
    """Make a version of a package whose registration is in the given state, under the name `NAME`."""
    import mlflow
    from mlflow.exceptions import MlflowException

    from cac.registry.pyfunc_model import signature

    try:
        client.create_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with mlflow.start_run(experiment_id=experiment_id(client, "rl")):
        info = mlflow.pyfunc.log_model(
            name=NAME,
            python_model=str(LOADER),
            artifacts={"package": str(package)},
            signature=signature(),
            pip_requirements=[],
        )
    tags = {REGISTRATION_TAG: state}
    client.create_model_version(NAME, f"models:/{info.model_id}", tags=tags, model_id=info.model_id)
