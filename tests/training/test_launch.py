"""One process or several: each trains once, and says so by its exit code."""

from pathlib import Path

from cac.training import launch

ONE = "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nnum_processes: 1\nuse_cpu: true\n"


def test_a_config_of_one_process_starts_it_once_and_gives_its_exit_code(tmp_path: Path, monkeypatch) -> None:
    """Such a file `accelerate config default` writes without GPUs; accelerate does not mark its one process."""
    monkeypatch.setenv("CAC_LAUNCHED", "")  # so that it is as before in the end
    monkeypatch.delenv("CAC_LAUNCHED")
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "cac").mkdir()
    (tmp_path / "cac" / "__init__.py").touch()
    (tmp_path / "cac" / "__main__.py").write_text(
        "import os, sys\nassert 'CAC_LAUNCHED' in os.environ\nsys.exit(int(sys.argv[1]))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert not launch.is_launched()
    assert launch.launch(tmp_path / "one.yaml", ["0"]) == 0
    assert launch.is_launched()
    assert launch.launch(tmp_path / "one.yaml", ["3"]) == 3
