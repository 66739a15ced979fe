"""The wheel, the versions, and what the documents promise."""

import ast
import email
import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import keras_wrn
from keras_wrn import distribution
from keras_wrn.cli import VERBS

ROOT = Path(__file__).parent.parent
RECIPES = sorted(path.stem for path in ROOT.glob("recipes/[!_]*.py"))
PAGES = [f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md"))]
DOCUMENTS = [name for name in ("README.md", "CONTRIBUTING.md", *PAGES) if (ROOT / name).is_file()]


def run(*command, cwd=ROOT, **environment):
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def project_files():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [ROOT / name for name in listed.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("keras_wrn", "recipes", "saved_models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index")
    run(*pip, "--no-build-isolation", "--wheel-dir", out, source)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def about(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet")
    run(*pip, "--target", site, wheel)
    return site


def test_wheel_holds_package_recipes_and_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in ROOT.glob("keras_wrn/**/*.*"):
        assert path.suffix == ".pyc" or path.relative_to(ROOT).as_posix() in names
    assert RECIPES
    assert {f"keras_wrn/recipes/{name}.py" for name in ("__init__", *RECIPES)} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    shipped = {name for name in names if name.startswith("keras_wrn/shipped/")}
    assert shipped == {"keras_wrn/shipped/cifar10_wrn16_2/model.keras"}
    # The recipes and tests do not take a top-level name of the user's environment.
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"keras_wrn"}


def test_wheel_says_what_it_is(about):
    assert about["Name"] == "keras-wide-resnet"
    assert about["Version"] == keras_wrn.__version__
    assert about["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert about.get_payload().startswith((ROOT / "README.md").read_text()[:100])


def test_changelog_begins_with_this_version():
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading[1] == keras_wrn.__version__


def test_every_supported_python_is_tested(about):
    supported = re.findall(r"Python :: (3\.\d+)", str(about))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert supported == re.findall(r'"(3\.\d+)"', workflow)
    allowed = Requirement(f"python{about['Requires-Python']}").specifier
    assert [minor for minor in range(30) if f"3.{minor}.1" in allowed] == [
        int(version.split(".")[1]) for version in supported
    ]


def test_constraints_pin_every_requirement(about):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    for requirement in map(Requirement, about.get_all("Requires-Dist")):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.extra("tensorflow_serving", "nncf", "safetensors")
def test_every_import_is_declared(about):
    declared = {canonicalize_name(Requirement(r).name) for r in about.get_all("Requires-Dist")}
    providers = metadata.packages_distributions()
    undeclared = {}
    for path in [*ROOT.glob("keras_wrn/**/*.py"), *ROOT.glob("recipes/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            for module in {name.split(".")[0] for name in modules}:
                names = {canonicalize_name(n) for n in providers.get(module, [module])}
                known = module in sys.stdlib_module_names or module == "keras_wrn"
                if not known and not names & declared:
                    undeclared[module] = path.name
    assert undeclared == {}


def test_a_package_of_the_same_import_name_is_told_of(tmp_path):
    info = tmp_path / "keras_wrn-1.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keras-wrn\nVersion: 1.1\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    command = [sys.executable, "-W", "default", "-c", "import keras_wrn"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "keras-wrn 1.1 is installed too" in done.stderr
    assert "pip uninstall keras-wrn" in done.stderr


def test_no_file_has_that_package_installed():
    # The command is keras-wrn; what pip installs is not.
    wrong = r"keras-wrn\[|pip install (?!-)\S*keras-wrn\b|(?:version|distribution)\(.keras-wrn."
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_files()
        if path.suffix in (".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".txt", "")
        and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(wrong, line)
    ]
    assert found == []


def test_recipes_of_the_wheel_import_by_name(installed, tmp_path):
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    module = importlib.import_module(f'keras_wrn.recipes.{name}')\n"
        "    print(module.recipe.name, module.__file__)\n"
    )
    out = run(sys.executable, "-c", code, *RECIPES, cwd=tmp_path, PYTHONPATH=str(installed))
    assert out.splitlines() == [
        f"{name} {installed / 'keras_wrn/recipes' / name}.py" for name in RECIPES
    ]


def test_studies_of_the_wheel_are_found_by_name(installed, tmp_path):
    code = (
        "from keras_wrn.scripts import load_study, study_paths\n"
        "print(len(study_paths()), study_paths()['table2'], load_study('table9').cells[0].name)\n"
    )
    out = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    count = len([*ROOT.glob("recipes/studies/[!_]*.py")])
    place = installed / "keras_wrn/recipes/studies/table2.py"
    assert out.split() == [str(count), str(place), "cifar10-wrn_40_10-dropout"]


def test_recipes_of_this_installation_import_by_name():
    # An editable one too, where keras_wrn/recipes is no folder.
    if not list(metadata.distributions(name=distribution.NAME)):
        pytest.skip(f"{distribution.NAME} is not installed: it runs from its folder")
    for name in RECIPES:
        assert importlib.import_module(f"keras_wrn.recipes.{name}").recipe.name == name


def test_wheel_holds_the_weights_of_cifar10(installed, tmp_path):
    code = (
        "import keras_wrn\n"
        "print(keras_wrn.WideResNet(16, 2, weights='cifar10').preprocessing.class_names[3])\n"
        "from keras_wrn.catalog import fetch, weights_info\n"
        "print(fetch._shipped(weights_info('wrn_16_2')))\n"
        "print(len(keras_wrn.data.imagenet_classes()))\n"
    )
    out = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    place = installed / "keras_wrn/shipped/cifar10_wrn16_2/model.keras"
    assert out.splitlines()[-3:] == ["cat", str(place), "1000"]


@pytest.mark.slow
def test_wheel_trains_a_recipe_by_name_in_an_empty_folder(installed, tmp_path):
    train = ("-m", "keras_wrn", "train", "digits_wrn10_1", "--smoke", "--run-dir", "run")
    run(sys.executable, *train, cwd=tmp_path, PYTHONPATH=str(installed))
    assert (tmp_path / "run/summary.json").is_file()


def test_command_starts_main(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        scripts = archive.read(name).decode()
    assert "keras-wrn = keras_wrn.cli:main" in scripts
    assert callable(keras_wrn.cli.main)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_says_which_python_it_needs(tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.9\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "test", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in result.stdout
    assert "Python 3.10.9" in result.stdout
    assert not (tmp_path / "venv").exists()


def test_no_file_names_a_registry_or_a_place_on_one_machine():
    hosts = r"pypi\.org|pythonhosted\.org|download\.pytorch\.org/whl|anaconda\.org|index[-]url"
    places = r"(?<![\w.~$})-])/(?:home|mnt|root|tmp|work|Users)/\w"
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(f"{hosts}|{places}", line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("target", ["quickstart", "test", "test-rest", "lint", "benchmark"])
def test_a_target_makes_what_it_needs(target, tmp_path):
    command = ["make", "-n", target, f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}"]
    # `make test`, which may have started this test, hands its settings on.
    plain = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    extras = {"benchmark": "dev", "test-rest": "dev", "quickstart": None}.get(target, "test")
    installed = re.findall(r'editable "\.\[(\w+)\]"', done.stdout)
    assert installed == ([extras] if extras else [])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_what_exists(document):
    text = (ROOT / document).read_text()
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`|^ {4}[^\n]+", text, re.DOTALL | re.MULTILINE))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= set(targets)
    assert set(re.findall(r"\bkeras-wrn ([a-z]+)", code)) <= set(VERBS)
    assert set(re.findall(r"\bkeras-wrn train ([a-z]+\w+)", code)) <= set(RECIPES)
    for path in re.findall(r"\b((?:recipes|benchmarks|tests|docs)/[a-z]\w*\.(?:py|md))", code):
        assert (ROOT / path).is_file(), path
    for path, names in re.findall(r"`(keras_wrn/[\w/]+\.py)`((?:, `\w+`)*)", text):
        written = (ROOT / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b(def |class )?{name}\b", written), (path, name)
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (ROOT / document).parent.joinpath(link).exists(), link
