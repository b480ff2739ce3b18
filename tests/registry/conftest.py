"""The MLflow store and the settings that these tests share."""

from helpers.registry_fixtures import aliases, best, checkpoint, on_base, params, project, tags  # noqa: F401
