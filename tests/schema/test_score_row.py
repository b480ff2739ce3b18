"""One schema of an output: `cac score`, the server, batch scoring and the registered model say the same of a clip."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.adapters import save_changed_adapter
from jsonschema import Draft202012Validator

from cac.batch.listing import open_source
from cac.batch.plan import BatchSettings
from cac.batch.rows import part_rows
from cac.batch.score_files import Scored, score_files
from cac.model.calibration import Calibration
from cac.model.familiarity import fit_familiarity
from cac.model.loading import base_identity, load_base
from cac.model.package import PackageSettings, write_package
from cac.model.reward_model import RewardModel
from cac.params import Model, Params
from cac.registry.pinned import PinnedModel, pin_package
from cac.schema.score_row import COLUMNS, version_of
from cac.serving.app import make_app
from cac.serving.settings import ServeSettings
from cac.video.encode import encode
from scripts.score_schema import OUT, schema_text


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, fresh_base: Path, project_params: Params) -> Path:
    folder, settings = tmp_path_factory.mktemp("scored"), Model(base=str(fresh_base), revision=None, dtype="float32")
    base, processor = load_base(settings)
    save_changed_adapter(base, project_params.adapter, folder / "adapter", base_identity(settings))
    plain = RewardModel(load_base(settings)[0], processor, project_params.frames, max_turn_tokens=12)
    familiar = fit_familiarity(plain.traits([_video(seed) for seed in range(5)]))
    packed = PackageSettings(settings, project_params.frames, Calibration(2.0, 0.3, 0.45), 12, familiar)
    write_package(folder / "package", folder / "adapter", packed)
    return folder / "package"


def _video(seed: int) -> Any:
    from cac.video.decode import Video

    return Video(np.random.default_rng(seed).integers(0, 256, (16, 32, 32, 3), np.uint8), 8.0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip unlike those of the calibration."""
    path = tmp_path / "clips" / "clip.mp4"
    path.parent.mkdir()
    encode(path, np.random.default_rng(9).integers(0, 256, (20, 48, 80, 3), np.uint8), 24)
    return path


def scored(pinned: PinnedModel, clip: Path) -> dict[str, Any]:
    (one,) = score_files(pinned, [clip])
    assert isinstance(one, Scored)
    return json.loads(json.dumps(one.to_dict()))


def served(pinned: PinnedModel, clip: Path) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        app = make_app(pinned, ServeSettings())
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cac") as client,
        ):
            answer = await client.post("/score", content=clip.read_bytes())
            return dict(answer.json())

    return asyncio.run(run())


def batched(pinned: PinnedModel, clip: Path) -> dict[str, Any]:
    source = open_source(str(clip.parent))
    ((row,),) = part_rows(pinned, source, BatchSettings(), [source.videos()])
    return json.loads(json.dumps(row))


def registered(package: Path, clip: Path) -> dict[str, Any]:
    from cac.registry.pyfunc_model import RewardPyfunc

    model = RewardPyfunc()
    model.load_context(SimpleNamespace(artifacts={"package": str(package)}))
    (row,) = model.predict(SimpleNamespace(), [str(clip)]).to_dict(orient="records")
    return json.loads(json.dumps(row))


def test_four_ways_to_score_a_clip_say_the_same(package: Path, clip: Path) -> None:
    pinned = pin_package(package)
    rows = [scored(pinned, clip), served(pinned, clip), batched(pinned, clip), registered(package, clip)]
    validator = Draft202012Validator(json.loads(OUT.read_text()))
    for row in rows:
        common = {name: row[name] for name in COLUMNS}
        validator.validate(common)
        assert common.pop("score") == pytest.approx(rows[0]["score"], abs=1e-6)
        assert common == {name: rows[0][name] for name in COLUMNS if name != "score"}
    assert rows[0]["verdict"] == ("clean" if rows[0]["score"] >= rows[0]["threshold"] else "anomalous")
    assert [one.partition(":")[0] for one in rows[0]["warnings"]][:1] == ["out_of_distribution"]
    assert rows[0]["model"] == str(package)


def test_the_published_schema_is_that_of_the_code() -> None:
    assert OUT.read_text() == schema_text(), "run `python -m scripts.score_schema`"


@pytest.mark.parametrize(
    ("model", "version"),
    [("models:/cac-reward-model/12", "12"), ("/tmp/packages/3", None), ("models:/m-1234abcd", None), ("package", None)],
)
def test_only_a_registered_version_has_a_number(model: str, version: str | None) -> None:
    assert version_of(model) == version
