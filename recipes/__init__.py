"""Recipes: one YAML file is one runnable experiment. `load` reads, `schema` defines."""
