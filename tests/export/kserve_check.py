"""Whether documents of YAML are what KServe's published Python models describe, field by field.

python kserve_check.py KSERVE.yaml
"""

import importlib
import pkgutil
import re
import sys
import types
from pathlib import Path

import yaml


def models(package):
    """The model classes of an OpenAPI package, by name, without what the package itself imports."""
    folder = Path(next(p for p in map(Path, sys.path) if (p / package).is_dir()), package, "models")
    stand_in = types.ModuleType(package)
    stand_in.__path__ = [str(folder.parent)]
    sys.modules.setdefault(package, stand_in)
    configuration = types.ModuleType(f"{package}.configuration")
    configuration.Configuration = type("Configuration", (), {"client_side_validation": True})
    sys.modules.setdefault(configuration.__name__, configuration)
    inner = types.ModuleType(f"{package}.models")
    inner.__path__ = [str(folder)]
    sys.modules.setdefault(inner.__name__, inner)
    found = {}
    for module in pkgutil.iter_modules([str(folder)]):
        loaded = importlib.import_module(f"{package}.models.{module.name}")
        found |= {k: v for k, v in vars(loaded).items() if hasattr(v, "openapi_types")}
    return found


def check(value, kind, known, place):
    """Raise a ValueError where a value is not of the OpenAPI type `kind`."""
    inner = re.fullmatch(r"(list\[|dict\(str, )(.+)[\])]", kind)
    if inner:
        parts = value if inner[1] == "list[" else value.values()
        for part in parts:
            check(part, inner[2], known, place)
    elif kind in known:
        keys = {json: name for name, json in known[kind].attribute_map.items()}
        unknown = set(value) - set(keys)
        if unknown:
            raise ValueError(f"{place} has no field {sorted(unknown)}: it is a {kind}")
        types = known[kind].openapi_types
        for key, part in value.items():
            check(part, types[keys[key]], known, f"{place}.{key}")
        known[kind](**{keys[key]: part for key, part in value.items()})  # required fields
    elif kind in ("str", "int", "bool", "float"):
        if type(value).__name__ != kind:
            raise ValueError(f"{place} should be {kind}, and is {value!r}")
    elif kind != "object" and not kind.startswith(("V1", "K8s", "Intstr", "Resource")):
        raise ValueError(f"{place} has the unknown type {kind}")


def main(path):
    known = models("kserve")
    for document in yaml.safe_load_all(Path(path).read_text()):
        check(document, "V1beta1InferenceService", known, document["kind"])
    print("valid")


if __name__ == "__main__":
    main(*sys.argv[1:])
