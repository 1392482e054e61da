"""What pyproject.toml cannot say: the folders of plugins and the published numbers lie in ``benchmark/`` in a wheel."""

from setuptools import find_packages, setup

PLUGINS = ("methods", "datasets")

setup(
    packages=[
        *find_packages(include=["benchmark", "benchmark.*"]),
        *(f"benchmark.{folder}" for folder in PLUGINS),
        *(f"benchmark.{folder}.{package}" for folder in PLUGINS for package in find_packages(folder)),
        "benchmark.results.published",
    ],
    package_dir={f"benchmark.{folder}": folder for folder in (*PLUGINS, "results")},
)
