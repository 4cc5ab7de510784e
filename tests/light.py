"""Processes of tests that start in a fraction of a second."""

WITHOUT_JAX = """
import sys, types
for name in "unlearn", "unlearn.store":  # their modules, but not what they import
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [name.replace(".", "/")]
"""
"""Code that goes before `from unlearn.store import folder`, say, in the root folder."""
