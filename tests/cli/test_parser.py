"""The command line: fast, both spellings, exit codes."""

import subprocess
import sys

import pytest

from brainage_bids.cli.brainage import main
from brainage_bids.cli.options import settings_of
from brainage_bids.cli.parser import build_parser
from brainage_bids.records import BadConfiguration
from brainage_bids.settings import Settings


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option):
    code = (
        "import sys, atexit\n"
        "heavy = ('torch', 'nipype', 'ants', 'SimpleITK', 'matplotlib', 'pandas', 'numpy', 'bids', 'sklearn')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        f"from brainage_bids.cli.brainage import main; main([{option!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "LOADED []" in done.stdout and "brainage" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    (
        [],
        ["a", "b"],
        ["a", "b", "wrong"],
        ["a", "b", "participant", "--odd"],
        ["a", "b", "participant", "--nprocs", "x"],
    ),  # fmt: skip
)
def test_wrong_usage_ends_with_64(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 64 and "brainage: error:" in capsys.readouterr().err


def test_both_spellings_are_the_same(tmp_path):
    dashes = build_parser().parse_args([str(tmp_path), "o", "participant", "--participant-label", "a_b", "--omp-nthreads=3"])
    underscores = build_parser().parse_args([str(tmp_path), "o", "participant", "--participant_label", "a_b", "--omp_nthreads=3"])
    assert dashes == underscores and dashes.participant_label == ["a_b"] and dashes.omp_nthreads == 3


def test_settings_survive_toml(tmp_path):
    import tomllib

    settings = Settings("/in", "/out ü", "/w", participant_labels=("01", "02"), models=("a",), mem_mb=5)
    assert Settings.from_mapping(tomllib.loads(settings.to_toml()), "x") == settings


def test_the_command_line_wins_over_the_settings_file(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(Settings("/in", "/out", "/w", nprocs=4, skull_strip="force").to_toml())
    options = build_parser().parse_args(["/other", "/out", "participant", "--config-file", str(file), "--nprocs", "2"])
    settings = settings_of(options)
    assert (settings.bids_dir, settings.nprocs, settings.skull_strip) == ("/other", 2, "force")


def test_an_option_given_with_its_default_wins_too(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(Settings("/in", "/out", "/w", nprocs=4, device="cpu", participant_labels=("01",)).to_toml())
    words = ["/in", "/out", "participant", "--config-file", str(file), "--nprocs", "1", "--device", "auto", "--participant-label", "02"]
    settings = settings_of(build_parser().parse_args(words))
    assert (settings.nprocs, settings.device, settings.participant_labels) == (1, "auto", ("02",))


def test_without_options_the_settings_are_the_defaults():
    settings = settings_of(build_parser().parse_args(["/in", "/out", "participant"]))
    assert settings == Settings("/in", "/out", settings.work_dir)


@pytest.mark.parametrize(
    "text",
    [
        "nprocs = 0",
        "colour = 'red'",
        "skull_strip = 'maybe'",
        "= 3",
        "random_seed = 0",
        "sloppy = 'yes'",
        "nprocs = true",
        "participant_labels = '01'",
        "models = [1]",
        "work_dir = 3",
    ],  # fmt: skip
)
def test_a_wrong_settings_file_is_a_bad_configuration(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text)
    options = build_parser().parse_args(["/in", "/out", "participant", "--config-file", str(file)])
    with pytest.raises(BadConfiguration):
        settings_of(options)
